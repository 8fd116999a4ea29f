"""How long the supervisor waits before it starts a process again."""

from softman.standalone.processes import process_specs
from softman.standalone.supervisor import _Child


def test_the_pause_grows_while_a_process_keeps_ending() -> None:
    child = _Child(process_specs(None)[0], started=100.0)
    pauses = []
    for _ in range(9):
        child.ended(101.0)
        pauses.append(child.pause)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert child.due == 131.0


def test_a_steady_process_is_started_again_at_once() -> None:
    child = _Child(process_specs(None)[0], started=100.0, pause=16.0)
    child.ended(130.0)
    assert (child.pause, child.due) == (0.0, 130.0)
