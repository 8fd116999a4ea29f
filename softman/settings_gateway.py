"""The settings of the repository gateway: ``SOFTMAN_GATEWAY__*``, the section ``gateway`` of the file.

Times are in seconds, sizes in bytes. See docs/gateway.md.
"""

from pathlib import Path

from pydantic import Field

from softman.settings_section import Section


class GatewaySettings(Section):
    """Our own gateway, which stock publishers write to."""

    listen_host: str = "127.0.0.1"
    """The address that it serves on."""
    listen_port: int = Field(default=4929, ge=0, le=65535)
    """The port; 4929 is that of the official gateway."""
    certificate_file: Path | None = None
    """With ``key_file``: serve HTTPS, with this certificate chain, PEM."""
    key_file: Path | None = None
    """The private key of the certificate."""
    lease_seconds: float = Field(default=7200.0, ge=1)
    """How long a publisher may hold a path."""
    lease_bytes: int = Field(default=64 * 1024**3, ge=1)
    """What a publisher may send under one lease."""
    admin_key_file: Path | None = None
    """A gateway key, ``plain_text <id> <secret>``, that may end leases and switch repositories off."""
