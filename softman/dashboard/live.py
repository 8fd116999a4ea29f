"""Live pages: server-sent events that say that something changed; the page then fetches itself again.

An event carries no data: its id is a fingerprint of what is watched. So one that got lost does no harm, and a browser
that comes back with the id that it saw last gets an event only if something changed meanwhile. One poller for all
streams of a process asks for what is watched; none runs while nobody watches.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from softman.dashboard.auth.sessions import Sessions, session_id
from softman.dashboard.depends import Who, desk
from softman.dashboard.desk import Desk
from softman.dashboard.problems import TooMany
from softman.errors import InvalidInput, NotFound, SoftmanError
from softman.identity import Principal
from softman.log import get_logger
from softman.names import RepositoryName
from softman.services import authority

SECONDS: Final = 0.6
"""Between two looks at what is watched."""
CHECK_SECONDS: Final = 5.0
"""After which a stream asks whether the person is still signed in, and what of theirs there is to watch."""
PING_SECONDS: Final = 15
RETRY_MILLISECONDS: Final = 2000
"""After which a browser comes back whose stream broke."""
MOST_STREAMS: Final = 12
"""Of one person at the same time: pages that are open."""
_LATER: Final = 30
"""Seconds after which somebody with too many streams may try again."""
_log = get_logger(__name__)
router = APIRouter(prefix="/live", include_in_schema=False)
Names = frozenset[RepositoryName]


class Hub:
    """What all streams of a process share.

    Args:
        pulse: gives a fingerprint of each repository.
    """

    def __init__(self, pulse: Callable[[Names], dict[RepositoryName, str]]) -> None:
        self._pulse = pulse
        self._watched: Counter[RepositoryName] = Counter()
        self._streams: Counter[str] = Counter()
        self._marks: dict[RepositoryName, str] = {}
        self._news = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    def admit(self, who: Principal) -> None:
        """Go on only when a person may have one more stream.

        Raises:
            TooMany: the person has as many as may be.
        """
        if self._streams[who.subject] >= MOST_STREAMS:
            raise TooMany(_LATER)

    @contextmanager
    def stream(self, who: Principal, names: Names) -> Iterator["Stream"]:
        """A stream of a person that watches these, as long as the context lasts."""
        self._streams[who.subject] += 1
        stream = Stream(self)
        try:
            stream.watch(names)
            yield stream
        finally:
            stream.watch(frozenset())
            self._streams -= Counter({who.subject: 1})

    @property
    def streams(self) -> int:
        """How many there are."""
        return self._streams.total()

    def change(self, before: Names, now: Names) -> None:
        """A stream watches others than before."""
        self._watched.update(now - before)
        self._watched -= Counter(before - now)
        for name in self._marks.keys() - self._watched.keys():
            del self._marks[name]
        if self._watched and (self._poller is None or self._poller.done()):
            self._poller = asyncio.create_task(self._poll())

    def mark(self, names: Names) -> str | None:
        """A fingerprint of these; None while not all of them were looked at."""
        if not names <= self._marks.keys():
            return None
        text = "\n".join(f"{name} {self._marks[name]}" for name in sorted(names))
        return sha256(text.encode()).hexdigest()[:24]

    async def news(self, seconds: float) -> None:
        """Return when something changed, or after so many seconds."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return

    async def _poll(self) -> None:
        while self._watched:
            names = frozenset(self._watched)
            try:
                marks = await run_in_threadpool(self._pulse, names)
            except Exception as exc:  # noqa: BLE001 - whatever it is: the next look may be better, and streams go on
                _log.warning("what is watched cannot be looked at", reason=str(exc))
                marks = {}
            if any(self._marks.get(name) != mark for name, mark in marks.items()):
                self._marks |= {name: mark for name, mark in marks.items() if name in self._watched}
                self._news.set()
                self._news = asyncio.Event()
            await asyncio.sleep(SECONDS)


@dataclass
class Stream:
    """What one stream watches."""

    hub: Hub
    names: Names = field(default_factory=frozenset)

    def watch(self, names: Names) -> None:
        """Watch these from now on."""
        before, self.names = self.names, names
        self.hub.change(before, names)

    @property
    def mark(self) -> str | None:
        """See ``Hub.mark``."""
        return self.hub.mark(self.names)


Watch = Callable[[], Names]
"""What a stream is to watch now; raises ``NotFound`` when the person may not any more."""
LastSeen = Annotated[str, Header(alias="last-event-id")]


def hub(request: Request) -> Hub:
    """The hub of this process."""
    found: Hub = request.app.state.hub
    return found


TheHub = Annotated[Hub, Depends(hub)]
TheDesk = Annotated[Desk, Depends(desk)]


@router.get("/home")
async def home_events(request: Request, who: Who, asked: TheDesk, all_: TheHub, last: LastSeen = "") -> Response:
    """Changes of a person's repositories, and of those that they may ask for."""

    def names() -> Names:
        wanted = {each.name for each in asked.requestable(who) if each.name is not None}
        return frozenset({each.name for each in asked.repositories(who).items} | wanted)

    return await _answer(request, who, names, all_, last)


@router.get("/repositories/{name}")
async def repository_events(
    request: Request, who: Who, name: str, asked: TheDesk, all_: TheHub, *, last: LastSeen = ""
) -> Response:
    """Changes of one repository, or of one that was asked for a moment ago."""

    def names() -> Names:
        try:
            found = RepositoryName.parse(name)
        except InvalidInput:
            raise authority.unknown(name) from None
        try:
            asked.repository(who, found)
        except NotFound:
            if not any(each.name == found and not each.problem for each in asked.requestable(who)):
                raise
        return frozenset({found})

    return await _answer(request, who, names, all_, last)


async def _answer(request: Request, who: Principal, watch: Watch, all_: Hub, last: str) -> Response:
    names = await run_in_threadpool(watch)  # refused now, or not at all
    sessions: Sessions = request.app.state.sessions
    own = session_id(request)

    def allowed() -> Names | None:
        if own and sessions.find(own, touch=False) is None:
            return None
        try:
            return watch()
        except NotFound:
            return None
        except SoftmanError:  # something is away: go on with what is known
            return names

    all_.admit(who)

    async def events() -> AsyncIterator[ServerSentEvent]:
        with all_.stream(who, names) as stream:
            async for event in _events(stream, allowed, last):
                yield event

    return EventSourceResponse(events(), ping=PING_SECONDS, headers={"X-Accel-Buffering": "no"})


async def _events(stream: Stream, allowed: Callable[[], Names | None], last: str) -> AsyncIterator[ServerSentEvent]:
    """Events of one stream until it may not go on; ``last`` is the fingerprint that the browser has seen."""
    clock = asyncio.get_running_loop().time
    check_at = clock() + CHECK_SECONDS
    while True:
        mark = stream.mark
        if mark is not None and mark != last:
            last = mark
            yield ServerSentEvent(event="change", id=mark, data="", retry=RETRY_MILLISECONDS)
        await stream.hub.news(CHECK_SECONDS)
        if clock() >= check_at:
            check_at = clock() + CHECK_SECONDS
            names = await run_in_threadpool(allowed)
            if names is None:
                yield ServerSentEvent(event="bye", data="")
                return
            stream.watch(names)
