"""What the doctor finds."""

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How something stands."""

    FINE = "fine"
    UNKNOWN = "unknown"
    """It could not be looked at: this process has no credential for it, or what it depends on is broken."""
    WARNING = "warning"
    """It works, and will not for long, or not well."""
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: the part of the service, such as ``broker``.
        health: how it stands.
        what: in words, without secrets.
        repair: what a person may do about it; empty when nothing needs doing.
    """

    area: str
    health: Health
    what: str
    repair: str = ""


def fine(area: str, what: str) -> Finding:
    """Something is as it should be."""
    return Finding(area, Health.FINE, what)


def unknown(area: str, what: str, repair: str = "") -> Finding:
    """Something could not be looked at."""
    return Finding(area, Health.UNKNOWN, what, repair)


def warning(area: str, what: str, repair: str) -> Finding:
    """Something works, but not well or not for long."""
    return Finding(area, Health.WARNING, what, repair)


def broken(area: str, what: str, repair: str) -> Finding:
    """Something does not work."""
    return Finding(area, Health.BROKEN, what, repair)
