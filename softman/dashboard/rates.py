"""How fast somebody may ask: counted for each person, or each address as long as nobody is known.

Counted in this process's memory: with several processes a limit holds for each of them, and an outage changes nothing.
"""

import math
import time
from enum import StrEnum

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from softman.dashboard.problems import TooMany
from softman.identity import Principal
from softman.settings_dashboard import DashboardSettings


class Rate(StrEnum):
    """What is counted apart."""

    READ = "read"
    CHANGE = "change"
    LOGIN = "login"
    UPLOAD = "upload"


class Rates:
    """All counts.

    Args:
        settings: requests a minute.
    """

    def __init__(self, settings: DashboardSettings) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._limits = {
            Rate.READ: RateLimitItemPerMinute(settings.reads_per_minute),
            Rate.CHANGE: RateLimitItemPerMinute(settings.changes_per_minute),
            Rate.LOGIN: RateLimitItemPerMinute(settings.logins_per_minute),
            Rate.UPLOAD: RateLimitItemPerMinute(settings.uploads_per_minute),
        }

    def hit(self, rate: Rate, who: str) -> None:
        """Count one request.

        Args:
            rate: of which kind.
            who: a subject or an address, see ``caller``.

        Raises:
            TooMany: it is one too many.
        """
        if not self._limiter.hit(self._limits[rate], rate, who):
            self._refuse(rate, who)

    def check(self, rate: Rate, who: str) -> None:
        """Count nothing.

        Raises:
            TooMany: another request would be one too many.
        """
        if not self._limiter.test(self._limits[rate], rate, who):
            self._refuse(rate, who)

    def _refuse(self, rate: Rate, who: str) -> None:
        reset = self._limiter.get_window_stats(self._limits[rate], rate, who).reset_time
        raise TooMany(max(1, math.ceil(reset - time.time())))


def caller(request: Request, who: Principal | None = None) -> str:
    """Whose requests are counted together: a person's, or an address's."""
    return f"subject {who.subject}" if who is not None else f"address {address(request)}"


def address(request: Request) -> str:
    """The address that the request came from, as far as trusted proxies tell."""
    return request.client.host if request.client is not None else "unknown"
