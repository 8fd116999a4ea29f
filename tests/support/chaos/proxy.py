"""A TCP proxy on the loopback address that can be told to treat connections badly."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Any, Self

from softman.standalone.ports import LOOPBACK

_PIECE = 65536


class Weather(Enum):
    """What becomes of what passes through."""

    FAIR = "passes"
    CUT = "connections are broken off, and new ones refused at once"
    SLOW = "every piece comes late"
    DEAF = "connections stay open, nothing passes"
    HALF = "the way back of every connection is closed, the way there stays open"


class Proxy:
    """Passes connections on to a port. A context manager; everything runs in one thread.

    Args:
        target: the port behind it.
        delay: seconds that every piece is late in slow weather.
    """

    def __init__(self, target: int, *, delay: float = 0.3) -> None:
        self._target = target
        self._delay = delay
        self._weather = Weather.FAIR
        self._loop = asyncio.new_event_loop()
        self._clear: asyncio.Event
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy of {target}", daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set(self, weather: Weather) -> None:
        """Change the weather, for connections that are open, too."""
        self._call(self._change(weather))

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _begin(self) -> None:
        self._clear = asyncio.Event()
        self._clear.set()
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        self._break_off()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _change(self, weather: Weather) -> None:
        self._weather = weather
        if weather is Weather.CUT:
            self._break_off()
        if weather in {Weather.DEAF, Weather.HALF}:
            self._clear.clear()
        else:
            if not self._clear.is_set():
                self._break_off()  # what was deaf once is not to be believed again
            self._clear.set()

    def _break_off(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._weather is Weather.CUT:
            writer.transport.abort()
            return
        try:
            back, there = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, there}
        self._open |= both
        try:  # cancelled at the end: asyncio would complain of a connection that ends so
            with suppress(asyncio.CancelledError):
                await asyncio.gather(self._pass(reader, there, back=False), self._pass(back, writer, back=True))
        finally:
            self._open -= both
            for each in both:
                each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        with suppress(OSError):
            while piece := await reader.read(_PIECE):
                if self._weather is Weather.SLOW:
                    await asyncio.sleep(self._delay)
                if self._weather is Weather.HALF and back:
                    writer.write_eof()
                    return
                if self._weather is Weather.DEAF:
                    await self._clear.wait()
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
