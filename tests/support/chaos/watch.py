"""Looks at the manifests of repositories all the time: what was published once must stay part of the history."""

import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from softman.cvmfs.errors import CvmfsError
from softman.cvmfs.format.manifest import Manifest
from tests.support.chaos.scene import Scene

_PAUSE = 0.01


class ManifestWatch:
    """A context manager.

    Attributes:
        seen: by repository, the root hash of every revision that could be read at some time.
        broken: what should not have been seen, in words.
    """

    def __init__(self, scene: Scene) -> None:
        self._files = {str(each.name): scene.repository(each) / ".cvmfspublished" for each in scene.targets}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="manifest watch", daemon=True)
        self.seen: dict[str, dict[int, str]] = {name: {} for name in self._files}
        self.broken: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        last: dict[str, bytes] = {}
        while not self._stopping.wait(_PAUSE):
            for name, path in self._files.items():
                with suppress(FileNotFoundError):
                    data = path.read_bytes()
                    if data != last.get(name):
                        last[name] = data
                        self._look(name, data)

    def _look(self, name: str, data: bytes) -> None:
        try:
            manifest = Manifest.from_bytes(data).manifest
        except CvmfsError as exc:
            self.broken.append(f"{name}: the manifest cannot be read: {exc}")
            return
        seen, root = self.seen[name], str(manifest.root_hash)
        if seen and manifest.revision < max(seen):
            self.broken.append(f"{name}: revision {manifest.revision} after {max(seen)}")
        if seen.setdefault(manifest.revision, root) != root:
            self.broken.append(f"{name}: revision {manifest.revision} was published twice, as {root} the second time")
