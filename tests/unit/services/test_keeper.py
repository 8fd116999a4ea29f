"""A lease is renewed while its holder works, and its loss is noticed."""

import threading

import pytest

from softman.errors import Busy, ServiceUnavailable
from softman.services.keeper import LeaseKeeper


class FakeLease:
    """Answers renewals from a script; the last answer stands."""

    token = "t"

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.renewals = 0
        self.asked = threading.Semaphore(0)

    def renew(self) -> bool:
        self.renewals += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.asked.release()
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_renewed_while_at_work() -> None:
    lease = FakeLease(True)
    with LeaseKeeper(lease, 0.03) as keeper:
        for _ in range(3):
            assert lease.asked.acquire(timeout=60)
        keeper.check()
    renewals = lease.renewals
    assert renewals >= 3
    assert not lease.asked.acquire(timeout=0.05) or lease.renewals == renewals


def test_a_lost_lease_stops_the_holder() -> None:
    lease = FakeLease(True, False)
    with LeaseKeeper(lease, 0.03) as keeper:
        lost = threading.Event()
        while not lost.wait(0.005):
            try:
                keeper.check()
            except Busy:
                lost.set()
        with pytest.raises(Busy):
            keeper.check()
    assert lease.renewals == 2


def test_a_passing_fault_does_not_lose_it() -> None:
    lease = FakeLease(ServiceUnavailable("away"), True)
    with LeaseKeeper(lease, 0.03) as keeper:
        for _ in range(3):
            assert lease.asked.acquire(timeout=60)
        keeper.check()


def test_whoever_shall_stop_hands_a_long_slice_back(monkeypatch: pytest.MonkeyPatch) -> None:
    flag = threading.Event()
    monkeypatch.setattr(LeaseKeeper, "stopping", flag)
    monkeypatch.setattr("softman.services.keeper.GRACE_SECONDS", 0.2)
    with LeaseKeeper(FakeLease(True), 60) as keeper:
        keeper.check()
        flag.set()
        keeper.check()  # a short slice may end
        with pytest.raises(Busy, match="worker stops"):
            _check_for_ever(keeper)


def _check_for_ever(keeper: LeaseKeeper) -> None:
    pause = threading.Event()
    while not pause.wait(0.01):
        keeper.check()
