"""What is remembered between turns of publishers, in Redis.

====================================== ==== ================================================== =====================
key                                    type holds                                              lives
====================================== ==== ================================================== =====================
``softman:{<repository>}:failure``     text why turns fail at present, JSON                    ``KEEP_DAYS``
``softman:strangers``                  hash bucket -> reason and time, ``MAX_STRANGERS``       a day
``softman:owner:<owner>:turns``        zset token of a turn, with the time when its place ends until the last ends
====================================== ==== ================================================== =====================
"""

import json
import secrets
from dataclasses import asdict, replace
from typing import Any

import redis

from softman.adapters.errormap import translated
from softman.adapters.ports import Lease
from softman.adapters.redis_client import REDIS_TABLE, key_name, to_bytes, to_text
from softman.model import Failure, Stranger
from softman.names import RepositoryName

KEEP_DAYS = 90
MAX_STRANGERS = 100
MAX_TEXT = 1000
"""Characters of a reason."""
_DAY = 24 * 3600
_STRANGERS = "softman:strangers"

_ADD_STRANGER = """
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 0
"""
_ENTER = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local mine = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not mine and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""


class RedisTurnStates:
    """``TurnStates`` in Redis.

    Args:
        client: from ``redis_client``, answering in bytes.
        lease_seconds: how long a place lives without renewal.
    """

    def __init__(self, client: redis.Redis, *, lease_seconds: float = 60.0) -> None:
        self._client = client
        self._lease_ms = round(lease_seconds * 1000)
        self._add_stranger = client.register_script(_ADD_STRANGER)
        self._enter = client.register_script(_ENTER)

    def set_failure(self, repository: RepositoryName, failure: Failure | None) -> None:
        """See ``TurnStates.set_failure``."""
        name = key_name(repository, "failure")
        with translated(REDIS_TABLE, f"record the failure of {repository}"):
            if failure is None:
                self._client.delete(name)
            else:
                kept = replace(failure, reason=failure.reason[:MAX_TEXT])
                self._client.set(name, json.dumps(asdict(kept)), ex=KEEP_DAYS * _DAY)

    def failure(self, repository: RepositoryName) -> Failure | None:
        """See ``TurnStates.failure``."""
        with translated(REDIS_TABLE, f"read the failure of {repository}"):
            value: Any = self._client.get(key_name(repository, "failure"))
        return read_failure(value)

    def add_stranger(self, stranger: Stranger) -> None:
        """See ``TurnStates.add_stranger``."""
        value = json.dumps([stranger.reason[:MAX_TEXT], stranger.at])
        with translated(REDIS_TABLE, f"record the bucket {stranger.bucket}"):
            self._add_stranger(keys=[_STRANGERS], args=[to_bytes(stranger.bucket), value, MAX_STRANGERS, _DAY])

    def strangers(self) -> list[Stranger]:
        """See ``TurnStates.strangers``."""
        with translated(REDIS_TABLE, "read whose events are refused"):
            found: Any = self._client.hgetall(_STRANGERS)
        return sorted((Stranger(to_text(bucket), *json.loads(value)) for bucket, value in found.items()), key=_bucket)

    def enter(self, owner: str, most: int) -> Lease | None:
        """See ``TurnStates.enter``."""
        place = _Place(self, owner, most, secrets.token_hex(16))
        return place if place.renew() else None

    def leave(self, owner: str, place: Lease) -> None:
        """See ``TurnStates.leave``."""
        with translated(REDIS_TABLE, f"leave a place of {owner}"):
            self._client.zrem(_places(owner), place.token)

    def renew(self, owner: str, most: int, token: str) -> bool:
        """Take or prolong a place."""
        with translated(REDIS_TABLE, f"take a place of {owner}"):
            return bool(self._enter(keys=[_places(owner)], args=[token, self._lease_ms, most]))


class _Place:
    """``Lease`` of a place."""

    def __init__(self, states: RedisTurnStates, owner: str, most: int, token: str) -> None:
        self._states = states
        self._owner = owner
        self._most = most
        self._token = token

    @property
    def token(self) -> str:
        return self._token

    def renew(self) -> bool:
        return self._states.renew(self._owner, self._most, self._token)


def read_failure(value: bytes | None) -> Failure | None:
    """What ``set_failure`` wrote."""
    try:
        return None if value is None else Failure(**json.loads(value))
    except (ValueError, TypeError):  # of another version of softman
        return None


def _places(owner: str) -> str:
    return f"softman:owner:{owner}:turns"


def _bucket(stranger: Stranger) -> str:
    return stranger.bucket
