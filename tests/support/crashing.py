"""Storage on which the power goes at a chosen write."""

from collections.abc import Callable, Iterable
from pathlib import Path

from softman.cvmfs.direct import DirectArea
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.store.local import LocalStore


class Crash(Exception):
    """The power goes."""


class FailingStore(LocalStore):
    """A store on which the power goes at the n-th step that changes anything."""

    def __init__(self, root: Path, steps: int) -> None:
        super().__init__(root)
        self.left = steps

    def _step(self) -> None:
        if self.left == 0:
            raise Crash
        self.left -= 1

    def ensure_directories(self) -> None:
        self._step()
        super().ensure_directories()

    def put(self, name: str, data: bytes | Iterable[bytes], *, durable: bool = False) -> None:
        self._step()
        super().put(name, data, durable=durable)

    def promote_at(self, directory: int, staged: str, content: ContentHash, kind: ObjectKind) -> None:
        self._step()
        super().promote_at(directory, staged, content, kind)

    def delete(self, name: str) -> None:
        self._step()
        super().delete(name)

    def sync(self) -> None:
        self._step()
        super().sync()

    def begin_direct(self) -> DirectArea:
        self._step()
        begun = FailingArea.begin(self.root)
        assert isinstance(begun, FailingArea)
        begun.step = self._step
        return begun


class FailingArea(DirectArea):
    """A transaction that the power leaves where it is: before an object gets its name, and without tidying up."""

    step: Callable[[], None]

    def _place(self, name: str) -> str:
        self.step()
        return super()._place(name)

    def discard(self) -> None:
        self.step()
        super().discard()
