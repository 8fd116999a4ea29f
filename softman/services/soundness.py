"""Whether what is stored of a repository is what its catalogs say: read and hashed, not believed to be there."""

from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.reader import RepositoryReader


class Soundness:
    """``Published`` for verifying: an object counts only when its stored bytes have its hash. Threads may share it.

    Args:
        reader: reads as clients do.

    Attributes:
        damaged: objects that are not there, or are not right: those are staged again.
    """

    def __init__(self, reader: RepositoryReader) -> None:
        self.damaged: set[tuple[ContentHash, ObjectKind]] = set()
        self._reader = reader

    def __call__(self, content: ContentHash, kind: ObjectKind, *, size: int | None = None) -> bool:
        """See ``Published``."""
        del size
        if self._reader.is_intact(content, kind):
            return True
        self.damaged.add((content, kind))
        return False
