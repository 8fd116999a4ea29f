"""The body of a request, for code in a thread that reads it like a file."""

import asyncio
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError

from fastapi import Request
from starlette.requests import ClientDisconnect

from softman.cvmfs.errors import FormatError

_SECONDS = 60.0
"""Without a byte, after which a sender counts as gone."""


class Body:
    """Reads what comes, when it is asked to; what was not asked for is not taken from the sender.

    Args:
        following: gives the next piece, whatever its size, and nothing at the end.
    """

    def __init__(self, following: Callable[[], bytes]) -> None:
        self._following = following
        self._rest = b""
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, none at the end.

        Raises:
            FormatError: the sender is gone, or sends nothing for too long.
        """
        if not self._rest and not self._ended:
            self._rest = self._following()
            self._ended = not self._rest
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def read_all(self, most: int) -> bytes:
        """Everything.

        Raises:
            FormatError: it is more than ``most`` bytes; or as ``read``.
        """
        found = self.first(most + 1)
        if len(found) > most:
            raise FormatError(f"a body of more than {most} bytes")
        return found

    def first(self, size: int) -> bytes:
        """``size`` bytes, fewer only at the end; errors as ``read``."""
        pieces: list[bytes] = []
        while size and (piece := self.read(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


def body_of(request: Request, loop: asyncio.AbstractEventLoop) -> Body:
    """The body of a request, to be read in another thread than that of the ``loop`` that the request is served in."""
    stream = aiter(request.stream())

    async def take() -> bytes:
        try:
            while not (piece := await anext(stream)):
                pass
        except StopAsyncIteration:
            return b""
        except ClientDisconnect as exc:
            raise FormatError("the sender of the request is gone") from exc
        return piece

    def following() -> bytes:
        coming = asyncio.run_coroutine_threadsafe(take(), loop)
        try:
            return coming.result(_SECONDS)
        except FutureTimeoutError as exc:
            coming.cancel()
            raise FormatError("the sender of the request stopped in the middle") from exc

    return Body(following)
