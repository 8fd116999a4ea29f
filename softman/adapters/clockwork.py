"""What beats share, in Redis.

=================================== ==== ================================================ ============================
key                                 type holds                                            lives
=================================== ==== ================================================ ============================
``softman:beat:turn:<entry>``       text nothing: the present turn of an entry is taken   until the next is due
``softman:beats``                   zset name of a beat, with the time of its last sign   ``KEEP_SECONDS``
=================================== ==== ================================================ ============================

Time is Redis' own: the hosts' clocks may differ.
"""

from typing import Any

import redis

from softman.adapters.errormap import translated
from softman.adapters.redis_client import REDIS_TABLE

KEEP_SECONDS = 24 * 3600
_BEATS = "softman:beats"

_CLAIM = """
if redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[1]) then return 0 end
return redis.call('PTTL', KEYS[1])
"""
_ALIVE = """
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], now[1] + now[2] / 1000000, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1] - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 0
"""


class RedisClockwork:
    """``Clockwork`` in Redis.

    Args:
        client: from ``redis_client``, answering in bytes.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._claim = client.register_script(_CLAIM)
        self._alive = client.register_script(_ALIVE)

    def claim(self, entry: str, seconds: float) -> float:
        """See ``Clockwork.claim``."""
        with translated(REDIS_TABLE, f"take the turn of {entry}"):
            left: Any = self._claim(keys=[_turn(entry)], args=[max(1, round(seconds * 1000))])
        return max(int(left), 1) / 1000 if left else 0.0

    def give_back(self, entry: str) -> None:
        """See ``Clockwork.give_back``."""
        with translated(REDIS_TABLE, f"give the turn of {entry} back"):
            self._client.delete(_turn(entry))

    def alive(self, name: str) -> None:
        """See ``Clockwork.alive``."""
        with translated(REDIS_TABLE, "say that beat is alive"):
            self._alive(keys=[_BEATS], args=[name, KEEP_SECONDS])

    def beats(self) -> dict[str, float]:
        """See ``Clockwork.beats``."""
        with translated(REDIS_TABLE, "look for beats"):
            seconds, microseconds = self._client.time()
            found: Any = self._client.zrange(_BEATS, 0, -1, withscores=True)
        now = seconds + microseconds / 1e6
        return {name.decode(): max(0.0, now - at) for name, at in found}


def _turn(entry: str) -> str:
    return f"softman:beat:turn:{entry}"
