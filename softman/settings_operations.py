"""Settings of what operators look at."""

from pydantic import Field

from softman.settings_section import Section


class MetricsSettings(Section):
    """What Prometheus can ask for."""

    enabled: bool = True
    """Let workers count what they do, in files below ``state_dir``; ``softman exporter`` shows it."""
    listen_host: str = "127.0.0.1"
    """Where the exporter listens. What it shows is no secret, and nobody has to log in."""
    listen_port: int = Field(default=9797, ge=0, le=65535)
    """The port likewise; 0 for any."""
    repositories: int = Field(default=200, ge=0)
    """So many repositories are shown one by one, in the order of their names; all of them count in the sums."""
