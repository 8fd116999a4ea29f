"""Wishes survive a broker that is away, and a dashboard that is started again meanwhile."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from softman.dashboard import outbox
from softman.dashboard.outbox import Outbox
from softman.dashboard.store import DashboardStore
from softman.errors import InvalidInput, ServiceUnavailable, TransientError


class Broker:
    def __init__(self) -> None:
        self.away = False
        self.got: list[tuple[str, str, list[object], str]] = []

    def __call__(self, task_id: str, task: str, arguments: Sequence[object], *, requested_by: str) -> None:
        if self.away or len(self.got) == 3:
            msg = "away"
            raise ServiceUnavailable(msg)
        if task == "softman.nonsense":
            raise InvalidInput(task)
        self.got.append((task_id, task, list(arguments), requested_by))


@pytest.fixture
def kept(tmp_path: Path) -> Outbox:
    return Outbox(DashboardStore(tmp_path))


def test_wishes_are_sent_in_order_as_far_as_the_broker_takes_them(kept: Outbox, tmp_path: Path) -> None:
    for number in range(5):
        kept.post(f"id{number}", "softman.resync", ["a.example.org", None, True], requested_by="alice")
    broker = Broker()
    broker.away = True
    assert kept.send_all(broker) == 0
    broker.away = False
    again = Outbox(DashboardStore(tmp_path))
    assert (again.send_all(broker), again.waiting()) == (3, 2)
    assert broker.got[0] == ("id0", "softman.resync", ["a.example.org", None, True], "alice")
    assert [each[0] for each in broker.got] == ["id0", "id1", "id2"]


def test_what_can_never_be_sent_holds_nothing_up(kept: Outbox) -> None:
    kept.post("bad", "softman.nonsense", [], requested_by="")
    kept.post("good", "softman.resync", [], requested_by="")
    broker = Broker()
    assert (kept.send_all(broker), kept.waiting()) == (1, 0)


def test_it_does_not_grow_without_end(kept: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MOST", 1)
    kept.post("one", "softman.resync", [], requested_by="")
    with pytest.raises(TransientError, match="no more requests"):
        kept.post("two", "softman.resync", [], requested_by="")


def test_a_thread_sends_by_itself(kept: Outbox) -> None:
    kept.post("one", "softman.resync", [], requested_by="")
    broker = Broker()
    kept.start(broker)
    while kept.waiting():
        pass
    kept.close()
    assert len(broker.got) == 1
