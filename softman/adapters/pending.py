"""Pending keys and leases in Redis (decision 9). The scripts are in ``pending_scripts``; this is what sends them.

How long things live: the lease for ``lease_seconds`` after it was taken or renewed; the note that a task is queued for
``queued_seconds``, so that a task that got lost, or was never sent, holds nothing up for longer; pending keys, keys in
flight and the epoch until they are used or flushed. A pending key takes its length and about 60 bytes.
"""

import secrets
from collections.abc import Iterator, Sequence
from hashlib import sha1
from typing import Any, TypeVar

import redis
from redis.exceptions import NoScriptError

from softman.adapters import pending_scripts as lua
from softman.adapters.errormap import translated
from softman.adapters.ports import Lease
from softman.adapters.redis_client import REDIS_TABLE, key_name, to_bytes, to_text
from softman.errors import Busy
from softman.model import Backlog, Everything, Keys, Scope
from softman.names import RepositoryName

_T = TypeVar("_T")
_Arguments = Sequence[bytes | str | int]
_PORTION = 5000
"""Object keys in one call of a script; 1 KiB each at most."""
_PIPELINE = 200
"""Calls in one round trip."""


class RedisPendingKeys:
    """``PendingKeys`` in Redis. Threads and processes may share the server, threads this object.

    Args:
        client: from ``redis_client``, answering in bytes.
        lease_seconds: how long a lease lives without renewal.
        queued_seconds: how long a queued task is believed in; shorter costs needless tasks when queues are long,
            longer delays keys whose task was lost.
    """

    def __init__(self, client: redis.Redis, *, lease_seconds: float = 60.0, queued_seconds: float = 120.0) -> None:
        self._client = client
        self._lease_ms = round(lease_seconds * 1000)
        self._queued_ms = round(queued_seconds * 1000)
        self._digests: dict[str, str] = {}

    def add(self, repository: RepositoryName, keys: frozenset[str]) -> bool:
        """See ``PendingKeys.add``."""
        return bool(self.add_many({repository: keys}))

    def add_many(self, changes: dict[RepositoryName, frozenset[str]]) -> list[RepositoryName]:
        """See ``PendingKeys.add_many``."""
        calls = [
            (repository, [*self._claim(), *portion])
            for repository, keys in changes.items()
            for portion in _portions([to_bytes(key) for key in keys], _PORTION)
        ]
        return self._claimed(lua.ADD, calls, "add pending keys")

    def started(self, repository: RepositoryName) -> None:
        """See ``PendingKeys.started``."""
        self._run(lua.STARTED, repository, [], "note a begun task")

    def acquire(self, repository: RepositoryName) -> Lease | None:
        """See ``PendingKeys.acquire``."""
        token = secrets.token_hex(16)
        if self._run(lua.ACQUIRE, repository, [token, self._lease_ms], "take the lease"):
            return _RedisLease(self, repository, token)
        return None

    def renew(self, repository: RepositoryName, token: str) -> bool:
        """Prolong a lease; False when it is lost."""
        return bool(self._run(lua.RENEW, repository, [token, self._lease_ms], "renew the lease") != lua.BUSY)

    def take(self, lease: Lease, repository: RepositoryName, limit: int) -> Scope | None:
        """See ``PendingKeys.take``."""
        taken = self._fenced(lua.TAKE, lease, repository, [limit], "take pending keys")
        if taken == lua.EVERYTHING:
            return Everything()
        if isinstance(taken, bytes):
            rules, _, after = to_text(taken).partition("\n")
            return Everything(after, rules)
        return Keys(frozenset(map(to_text, taken))) if taken else None

    def reached(self, lease: Lease, repository: RepositoryName, scope: Everything) -> bool:
        """See ``PendingKeys.reached``."""
        how_far = to_bytes(f"{scope.rules}\n{scope.after}")
        return bool(self._fenced(lua.REACHED, lease, repository, [how_far], "note how far a full sync came"))

    def take_keys(self, lease: Lease, repository: RepositoryName, limit: int) -> Keys | None:
        """See ``PendingKeys.take_keys``."""
        taken = self._fenced(lua.TAKE_KEYS, lease, repository, [limit], "take pending keys")
        return Keys(frozenset(map(to_text, taken))) if taken else None

    def done(self, lease: Lease, repository: RepositoryName, scope: Scope) -> None:
        """See ``PendingKeys.done``.

        Raises:
            Busy: the lease is lost; what was published stays published, and will be compared again.
        """
        if isinstance(scope, Everything):
            self._fenced(lua.DONE_EVERYTHING, lease, repository, [], "finish a full sync")
            return
        for portion in _portions([to_bytes(key) for key in scope.keys], _PORTION):
            self._fenced(lua.DONE_KEYS, lease, repository, portion, "finish published keys")

    def need_everything(self, repository: RepositoryName, *, anew: bool = True) -> None:
        """See ``PendingKeys.need_everything``."""
        self._run(lua.NEED_EVERYTHING, repository, [int(anew)], "ask for a full sync")

    def is_whole(self, repository: RepositoryName) -> bool:
        """See ``PendingKeys.is_whole``."""
        return bool(self._run(lua.IS_WHOLE, repository, [], "look whether a full sync is due"))

    def forget(self, repository: RepositoryName, seconds: float) -> None:
        """See ``PendingKeys.forget``."""
        self._run(lua.FORGET, repository, [max(1, round(seconds * 1000))], "forget pending keys")

    def drop(self, repository: RepositoryName) -> None:
        """See ``PendingKeys.drop``."""
        self._run(lua.DROP, repository, [], "drop pending keys")

    def give_back(self, lease: Lease, repository: RepositoryName) -> None:
        """See ``PendingKeys.give_back``.

        Raises:
            Busy: the lease is lost; the next holder finds the keys pending.
        """
        self._fenced(lua.GIVE_BACK, lease, repository, [], "give pending keys back")

    def release(self, lease: Lease, repository: RepositoryName) -> bool:
        """See ``PendingKeys.release``. Keys still in flight are pending again.

        Raises:
            Busy: the lease is lost.
        """
        return bool(self._fenced(lua.RELEASE, lease, repository, self._claim(), "let go of the lease"))

    def waiting(self, repositories: list[RepositoryName]) -> list[RepositoryName]:
        """See ``PendingKeys.waiting``; keys that a dead holder left in flight count as pending."""
        calls = [(repository, self._claim()) for repository in repositories]
        return self._claimed(lua.WAITING, calls, "look for pending keys")

    def count(self, repository: RepositoryName) -> int:
        """See ``PendingKeys.count``; a key that changed again while in flight counts twice."""
        return int(self._run(lua.COUNT, repository, [], "count pending keys"))

    def backlog(self, repository: RepositoryName, limit: int) -> Backlog:
        """See ``PendingKeys.backlog``; Redis draws the keys by lot when there are more."""
        pending, in_flight, whole, held, *keys = self._run(lua.BACKLOG, repository, [limit], "look at pending keys")
        shown = [tuple(sorted(map(to_text, each))) for each in keys]
        return Backlog(pending, in_flight, not whole, bool(held), *shown)

    def _claim(self) -> list[bytes | str | int]:
        return [secrets.token_hex(8), self._queued_ms]

    def _fenced(self, script: str, lease: Lease, repository: RepositoryName, rest: _Arguments, what: str) -> Any:
        answer = self._run(script, repository, [lease.token, *rest], what)
        if answer == lua.BUSY:
            msg = f"cannot {what} of {repository}: the lease is lost"
            raise Busy(msg)
        return answer

    def _run(self, script: str, repository: RepositoryName, arguments: _Arguments, what: str) -> Any:
        return self._run_all(script, [(repository, arguments)], what)[0]

    def _claimed(
        self, script: str, calls: list[tuple[RepositoryName, list[bytes | str | int]]], what: str
    ) -> list[RepositoryName]:
        answers = self._run_all(script, calls, what)
        # a dict: a repository with many keys has several calls, and one claim is enough
        return list({call[0]: None for call, answer in zip(calls, answers, strict=True) if answer})

    def _run_all(self, script: str, calls: Sequence[tuple[RepositoryName, _Arguments]], what: str) -> list[Any]:
        """Run one script for many repositories, in one round trip for each ``_PIPELINE`` of them."""
        digest = self._digests.setdefault(script, sha1(script.encode(), usedforsecurity=False).hexdigest())
        answers: list[Any] = []
        with translated(REDIS_TABLE, what):
            for portion in _portions(calls, _PIPELINE):
                found = self._send(digest, portion)
                if any(isinstance(answer, NoScriptError) for answer in found):  # Redis was restarted; none of them ran
                    self._client.script_load(script)
                    found = self._send(digest, portion)
                for answer in found:
                    if isinstance(answer, Exception):
                        raise answer
                answers += found
        return answers

    def _send(self, digest: str, calls: Sequence[tuple[RepositoryName, _Arguments]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for repository, arguments in calls:
            names = [key_name(repository, what) for what in lua.KEY_NAMES]
            pipeline.evalsha(digest, len(names), *names, *arguments)
        answers: list[Any] = pipeline.execute(raise_on_error=False)
        return answers


class _RedisLease:
    """``Lease`` of ``RedisPendingKeys``."""

    def __init__(self, pending: RedisPendingKeys, repository: RepositoryName, token: str) -> None:
        self._pending = pending
        self._repository = repository
        self._token = token

    @property
    def token(self) -> str:
        """128 random bits."""
        return self._token

    def renew(self) -> bool:
        """See ``Lease.renew``."""
        return self._pending.renew(self._repository, self._token)


def _portions(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    return (items[first : first + size] for first in range(0, len(items), size))
