"""Whether the clocks of the services agree with this host's. Whitelists, leases and signed requests depend on them."""

import time
from email.utils import parsedate_to_datetime

from softman.doctor.finding import Finding, broken, fine

MOST = 5.0
"""Seconds that clocks may differ: times in HTTP have whole ones, and an answer takes a moment."""
_REPAIR = "let all hosts take their time from the same servers (chrony or systemd-timesyncd), then look again"


def compared(area: str, service: str, theirs: float, ours: float | None = None) -> Finding:
    """The finding about one clock.

    Args:
        area: the part of the service.
        service: whose clock it is, in words.
        theirs: its Unix time.
        ours: this host's at the same moment; now when None.
    """
    difference = theirs - (time.time() if ours is None else ours)
    if abs(difference) <= MOST:
        return fine(area, f"the clock of {service} agrees with this host's")
    which = "ahead of" if difference > 0 else "behind"
    return broken(area, f"the clock of {service} is {abs(difference):.0f} s {which} this host's", _REPAIR)


def from_http(date: str) -> float:
    """The Unix time of an HTTP ``Date`` header.

    Raises:
        ValueError: it is none.
    """
    return parsedate_to_datetime(date).timestamp()
