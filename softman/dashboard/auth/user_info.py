"""Claims that tokens lack: asked for at the provider's user-info endpoint, and kept for a while."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from softman.dashboard.auth.provider import Provider
from softman.errors import Forbidden

KEPT_SECONDS = 300.0
_MOST = 1000


class UserInfo:
    """The user-info endpoint of a provider (OpenID Connect Core 1.0, section 5.3).

    Args:
        provider: whose.
        clock: monotonic seconds.
    """

    def __init__(self, provider: Provider, clock: Callable[[], float] = time.monotonic) -> None:
        self._provider = provider
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, tuple[float, dict[str, Any]]] = OrderedDict()

    def complete(self, claims: dict[str, Any], access_token: str) -> dict[str, Any]:
        """The claims with those that only the endpoint has.

        What is signed wins, and another subject's claims count for nothing. A token that the endpoint refuses, such as
        one for another resource or without the scope ``openid``, completes nothing.

        Args:
            claims: of a verified token.
            access_token: what to ask with.

        Raises:
            ServiceUnavailable: it does not answer.
        """
        more = self._of(access_token)
        return {**more, **claims} if more.get("sub") == claims["sub"] else claims

    def _of(self, access_token: str) -> dict[str, Any]:
        key, now = hashlib.sha256(access_token.encode()).digest(), self._clock()
        with self._lock:
            at, found = self._kept.get(key, (now - KEPT_SECONDS, {}))
        if now - at < KEPT_SECONDS:
            return found
        try:
            found = self._provider.user_info(access_token)
        except Forbidden:
            found = {}
        with self._lock:
            self._kept[key] = (now, found)
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return found
