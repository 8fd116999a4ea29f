"""Passing folded changes on, with pending keys in memory."""

from typing import Any

import pytest

from softman.adapters.memory_pending import MemoryPendingKeys
from softman.errors import ServiceUnavailable
from softman.events.consumer import Dispatcher
from softman.names import RepositoryName

ALICE, BOB = RepositoryName("alice", "example.org"), RepositoryName("bob", "example.org")
CHANGES = {ALICE: frozenset({"cvmfs/a"}), BOB: frozenset({"cvmfs/b"})}


class Outlet:
    """Takes tasks; refuses as often as it is told to."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.sent: list[RepositoryName] = []

    def publish_changes(self, repository: RepositoryName) -> None:
        if repository == BOB and self.refusals:
            self.refusals -= 1
            msg = "the broker is away"
            raise ServiceUnavailable(msg)
        self.sent.append(repository)

    def bury(self, body: bytes | str, reason: str, properties: dict[str, Any]) -> None:
        raise AssertionError((body, reason, properties))

    def refuse(self, bucket: str, reason: str) -> None:
        raise AssertionError((bucket, reason))


def test_keys_are_pending_and_each_repository_gets_one_task() -> None:
    pending, outlet = MemoryPendingKeys(), Outlet()
    dispatcher = Dispatcher(pending, outlet)
    assert dispatcher.dispatch(CHANGES) == 2
    assert dispatcher.dispatch({ALICE: frozenset({"cvmfs/c"})}) == 0
    assert outlet.sent == [ALICE, BOB]
    assert (pending.count(ALICE), pending.count(BOB)) == (2, 1)


def test_what_could_not_be_enqueued_is_owed_until_it_is() -> None:
    """The pending set has noted that a task is queued, and says so only once."""
    outlet = Outlet(refusals=2)
    dispatcher = Dispatcher(MemoryPendingKeys(), outlet)
    for _ in range(2):
        with pytest.raises(ServiceUnavailable):
            dispatcher.dispatch(CHANGES)
    assert dispatcher.dispatch(CHANGES) == 1
    assert outlet.sent == [ALICE, BOB]
    assert dispatcher.dispatch(CHANGES) == 0


def test_nothing_to_pass_on_asks_nobody() -> None:
    class Deaf:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    assert Dispatcher(Deaf(), Outlet()).dispatch({}) == 0
