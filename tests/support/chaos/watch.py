"""Looks at the manifests of repositories all the time: what was published once must stay part of the history."""

from contextlib import suppress

from softman.cvmfs.errors import CvmfsError
from softman.cvmfs.format.manifest import Manifest
from tests.support.chaos.background import Background
from tests.support.chaos.scene import Scene

_PAUSE = 0.01


class ManifestWatch(Background):
    """Begins and ends with its ``with``.

    Attributes:
        seen: by repository, the root hash of every revision that could be read at some time.
        broken: what should not have been seen, in words.
    """

    def __init__(self, scene: Scene) -> None:
        super().__init__("manifest watch")
        self._files = {str(each.name): scene.repository(each) / ".cvmfspublished" for each in scene.targets}
        self.seen: dict[str, dict[int, str]] = {name: {} for name in self._files}
        self.broken: list[str] = []

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
