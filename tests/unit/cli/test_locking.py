"""``softman lock`` and ``unlock``: they ask stratum 0 and say what it says."""

from typing import Any

import pytest

from softman.errors import InvalidInput
from softman.tasks.catalogue import TaskSpec


@pytest.mark.parametrize("command", ["lock", "unlock"])
def test_it_asks_and_says_what_became_of_it(softman: Any, backend: Any, command: str) -> None:
    request = type(backend.on_send(TaskSpec("any", "any")))
    backend.on_send = lambda _task: request("basic.example.org is so")
    done = softman(command, "basic")
    assert (done.code, done.lines) == (0, ["basic.example.org is so"])
    assert backend.sent == [(f"softman.{command}", ("basic.example.org",))]
    assert softman(command, "basic", "--json").objects == [{"repository": "basic.example.org", "state": "active"}]


def test_a_refusal_is_said(softman: Any, backend: Any) -> None:
    request = type(backend.on_send(TaskSpec("any", "any")))
    backend.on_send = lambda _task: request(InvalidInput("it is retired"))
    done = softman("lock", "basic")
    assert (done.code, done.err) == (12, "softman: it is retired\n")
