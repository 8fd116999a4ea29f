"""Where those of our own processes listen that people look at with a browser."""

from dataclasses import dataclass, field

from softman.standalone.ports import LOOPBACK


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Where the dashboard and the development identity provider listen, and how the one is known to the other."""

    port: int
    provider_port: int
    """0 when there is none."""
    client_secret: str = field(repr=False)

    @property
    def url(self) -> str:
        """For a browser."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def issuer(self) -> str:
        """The identity provider; empty when there is none."""
        return f"http://{LOOPBACK}:{self.provider_port}" if self.provider_port else ""


@dataclass(frozen=True, slots=True)
class Flower:
    """Where Flower listens, and the password of its user ``softman``."""

    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """For a browser."""
        return f"http://{LOOPBACK}:{self.port}"
