"""Live updates: one poller for all, an event for each change, none for nothing, and an end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

import pytest

from softman.dashboard import live
from softman.dashboard.live import Hub, Names
from softman.dashboard.problems import TooMany
from softman.names import RepositoryName
from tests.support.showcase import ALICE, BOB

ONE, TWO = RepositoryName("alice", "example.org"), RepositoryName("physics", "example.org")


class Pulse:
    """What is watched; counts the looks."""

    def __init__(self) -> None:
        self.marks = {ONE: "a", TWO: "x"}
        self.looks: list[Names] = []
        self.fails = False

    def __call__(self, names: Iterable[RepositoryName]) -> dict[RepositoryName, str]:
        self.looks.append(frozenset(names))
        if self.fails:
            raise OSError
        return {name: self.marks[name] for name in names}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SECONDS", 0.01)
    monkeypatch.setattr(live, "CHECK_SECONDS", 0.05)


def _run(story: Callable[[Hub, Pulse], Coroutine[Any, Any, None]]) -> None:
    async def told() -> None:
        pulse = Pulse()
        await asyncio.wait_for(story(Hub(pulse), pulse), 20)

    asyncio.run(told())


async def _next(events: AsyncIterator[Any]) -> Any:
    return await asyncio.wait_for(anext(events), 10)


async def _looks(pulse: Pulse, number: int) -> None:
    """Wait until there were so many more."""
    enough = len(pulse.looks) + number
    while len(pulse.looks) < enough:  # noqa: ASYNC110 - the poller has no event for it
        await asyncio.sleep(0.01)


def test_a_change_is_an_event_and_nothing_is_none() -> None:
    async def story(hub: Hub, pulse: Pulse) -> None:
        with hub.stream(ALICE, frozenset({ONE})) as stream:
            events = live._events(stream, lambda: stream.names, "")
            first = await _next(events)
            assert first.event == "change"
            waiting = asyncio.ensure_future(anext(events))
            await _looks(pulse, 5)
            assert not waiting.done()
            pulse.marks[ONE] = "b"
            second = await asyncio.wait_for(waiting, 10)
            assert second.id != first.id

    _run(story)


def test_whoever_comes_back_hears_only_of_what_is_new() -> None:
    async def story(hub: Hub, pulse: Pulse) -> None:
        names = frozenset({ONE, TWO})
        with hub.stream(ALICE, names) as stream:
            seen = (await _next(live._events(stream, lambda: names, ""))).id
        with hub.stream(ALICE, names) as stream:
            events = asyncio.ensure_future(anext(live._events(stream, lambda: names, seen)))
            await _looks(pulse, 3)
            assert not events.done()
            pulse.marks[TWO] = "y"
            assert (await asyncio.wait_for(events, 10)).id != seen

    _run(story)


def test_many_streams_share_one_look() -> None:
    async def story(hub: Hub, pulse: Pulse) -> None:
        with hub.stream(ALICE, frozenset({ONE})) as one, hub.stream(BOB, frozenset({ONE, TWO})) as other:
            for stream in (one, other):
                await _next(live._events(stream, lambda: frozenset({ONE, TWO}), ""))
            assert pulse.looks[-1] == {ONE, TWO}
        looks = len(pulse.looks)
        await asyncio.sleep(0.1)
        assert len(pulse.looks) <= looks + 1  # nobody watches: nobody looks

    _run(story)


def test_a_stream_ends_when_the_person_may_not_any_more() -> None:
    async def story(hub: Hub, _pulse: Pulse) -> None:
        with hub.stream(ALICE, frozenset({ONE})) as stream:
            found = [event.event async for event in live._events(stream, lambda: None, "")]
        assert found == ["change", "bye"]
        assert hub.streams == 0

    _run(story)


def test_a_fault_of_one_look_ends_nothing() -> None:
    async def story(hub: Hub, pulse: Pulse) -> None:
        pulse.fails = True
        with hub.stream(ALICE, frozenset({ONE})) as stream:
            event = asyncio.ensure_future(anext(live._events(stream, lambda: stream.names, "")))
            await _looks(pulse, 3)
            pulse.fails = False
            assert (await asyncio.wait_for(event, 10)).event == "change"

    _run(story)


def test_streams_of_one_person_are_bounded() -> None:
    async def story(hub: Hub, _pulse: Pulse) -> None:
        open_ones = [hub.stream(ALICE, frozenset({ONE})) for _ in range(live.MOST_STREAMS)]
        for each in open_ones:
            each.__enter__()
        with pytest.raises(TooMany):
            hub.admit(ALICE)
        hub.admit(BOB)
        for each in open_ones:
            each.__exit__(None, None, None)
        hub.admit(ALICE)

    _run(story)
