"""When a provisioning chain is started again."""

import pytest

from softman.model import Link, LinkProgress, LinkState
from workers.stratum0 import QUIET_AFTER_FAILURE_SECONDS, QUIET_SECONDS, stopped

NOW = 1_000_000.0


def _link(state: LinkState, age: float) -> LinkProgress:
    return LinkProgress(Link.CREATE_REPOSITORY, state, NOW - age)


def test_nothing_recorded_is_a_standstill() -> None:
    assert stopped([], NOW)


@pytest.mark.parametrize(
    ("state", "quiet"),
    [
        (LinkState.WAITING, QUIET_SECONDS),
        (LinkState.RUNNING, QUIET_SECONDS),
        (LinkState.RETRYING, QUIET_SECONDS),
        (LinkState.FAILED, QUIET_AFTER_FAILURE_SECONDS),
    ],
)
def test_a_chain_is_left_alone_until_it_was_quiet_long_enough(state: LinkState, quiet: float) -> None:
    assert not stopped([_link(state, quiet - 1)], NOW)
    assert stopped([_link(state, quiet + 1)], NOW)


def test_the_youngest_sign_of_life_counts() -> None:
    old, young = _link(LinkState.DONE, 10 * QUIET_AFTER_FAILURE_SECONDS), _link(LinkState.RUNNING, 1)
    assert not stopped([old, young], NOW)
