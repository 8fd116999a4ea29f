"""The embedded stack as tests and the demo use it."""

from softman.standalone.stack import Stack


def test_every_server_runs(stack: Stack) -> None:
    assert stack.down() in ([], ["vault"])
