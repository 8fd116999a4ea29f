"""Writing straight into a repository's directory, for whoever holds its keys and works on the storage itself.

Nobody checks such a transaction's objects again, so they go to their final place at once: whole, by rename. Until the
commit no revision refers to them. What keeps a garbage collection from taking them is the transaction's area in
``data/txn``: it holds a marker that is older than everything the transaction wrote, and collections leave alone what
is not older than the oldest area. Areas are made under the repository's lock, as collections remove under it: one that
goes on has either removed all that it wants, or knows the marker.

Objects that were there before the marker could be taken by a collection at any time. They are noted when a
transaction counts on them, and looked for once more under the lock, before anything is signed.
"""

import os
import stat
import time
from contextlib import AbstractContextManager, suppress
from itertools import count
from pathlib import Path
from typing import Final

from softman.cvmfs.areas import (
    STAGING_DIRECTORY,
    FileSpool,
    Spool,
    check_transaction_id,
    discard_area,
    new_transaction_id,
    storage_errors,
)
from softman.cvmfs.errors import CandidateIncomplete, StoreUnavailable
from softman.cvmfs.format.hashes import DIGEST_SIZE, ContentHash, HashAlgorithm, ObjectKind

_MARKER: Final = ".begun"
_SLACK: Final = 3600
"""Seconds by which a clock may be set back while a transaction runs."""
_RECORD = DIGEST_SIZE + 1
_MAX_RECENT: Final = 4096
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o666
_numbers = count()  # of temporary files of this process


class DirectArea:
    """A transaction's hands on the storage. To be made under the repository's lock, by ``begin``.

    Copies in other processes (by pickle) can write; what they find stored already must be told to this one with
    ``count_on``.

    Args:
        root: of the repository.
        transaction: its id.
        begun: the time of its marker, in Unix time.
    """

    def __init__(self, root: Path, transaction: str, begun: float) -> None:
        self.transaction = check_transaction_id(transaction)
        self._root = root
        self._begun = begun
        self._data = f"{root}/data/"
        self._area = f"{root}/{STAGING_DIRECTORY}/{transaction}"
        self._noted = bytearray()  # digest and kind of each object, one after the other: there can be millions
        self._recent: set[bytes] = set()  # of them: many files of a tree can be the same

    def __reduce__(self) -> tuple[type["DirectArea"], tuple[Path, str, float]]:
        return DirectArea, (self._root, self.transaction, self._begun)

    @classmethod
    def begin(cls, root: Path) -> "DirectArea":
        """Begin a transaction in the repository at ``root``, whose lock the caller holds.

        Raises:
            StoreUnavailable: the storage cannot be written now.
        """
        transaction = new_transaction_id()
        directory = root / STAGING_DIRECTORY / transaction
        with storage_errors():
            directory.mkdir(mode=0o770)
            marker = directory / _MARKER
            marker.touch()
            # By the clock of the file system, which objects will have too.
            begun = int(marker.stat().st_mtime) - _SLACK
            os.utime(marker, (time.time(), begun))
        return cls(root, transaction, begun)

    def spool(self) -> AbstractContextManager[Spool]:
        """See ``StagingArea.spool``; objects that are kept are in the repository at once."""
        return FileSpool(Path(self._area), self._place, mode=_MODE)

    def holds(self, name: str) -> bool:
        """See ``StagingArea.holds``. Nothing is held here; ``is_stored`` knows."""
        del name
        return False

    def store(self, content: ContentHash, kind: ObjectKind, stored: bytes) -> bool:
        """Store a small object, unless it is there; whether it was new.

        Args:
            content: its hash.
            kind: its kind.
            stored: its bytes, as they are stored.

        Raises:
            StoreUnavailable: the storage cannot be written now.
        """
        name = f"{content}{kind}"  # a kind is its letter; ``value`` takes as long as the rest of the name
        # Most are new, and that is found out faster in this way than by an error of lstat.
        if os.access(self._place(name), os.F_OK) and self.is_stored(content, kind, size=len(stored)):
            return False
        self.keep(name, stored)
        return True

    def keep(self, name: str, stored: bytes) -> None:
        """Store a small object, as it is to be stored, under ``staged_name``, in place of any that is there.

        Raises:
            StoreUnavailable: the storage cannot be written now.
        """
        temporary = f"{self._area}/{os.getpid()}-{next(_numbers)}"
        try:
            descriptor = os.open(temporary, _CREATE, _MODE)
            try:
                view = memoryview(stored)
                while view:
                    view = view[os.write(descriptor, view) :]
            finally:
                os.close(descriptor)
            os.rename(temporary, self._place(name))  # noqa: PTH104 - for every small file: text is quicker than paths
        except OSError as exc:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - same
            raise StoreUnavailable(f"the storage cannot be written: {exc.strerror}") from exc

    def is_stored(self, content: ContentHash, kind: ObjectKind, *, size: int | None = None) -> bool:
        """Whether an object is there with ``size`` bytes; the transaction counts on it then. See ``Published``."""
        text = str(content)
        try:
            found = os.lstat(f"{self._data}{text[:2]}/{text[2:]}{kind.value}")
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(found.st_mode) or size not in {None, found.st_size}:
            return False
        if found.st_mtime < self._begun:
            self.count_on(content.digest, kind)
        return True

    def count_on(self, digest: bytes, kind: ObjectKind) -> None:
        """Note an object that was found stored, for ``confirm``."""
        record = digest + (kind or " ").encode()
        if record in self._recent:
            return
        if len(self._recent) >= _MAX_RECENT:
            self._recent.clear()
        self._recent.add(record)
        self._noted.extend(record)

    def confirm(self, algorithm: HashAlgorithm) -> None:
        """Make sure that everything the transaction counts on is there; from now on the lock keeps it there.

        Args:
            algorithm: of the repository's hashes.

        Raises:
            CandidateIncomplete: a collection took something, or the area was swept since nothing happened for so long.
        """
        if not os.path.exists(f"{self._area}/{_MARKER}"):  # noqa: PTH110 - text, as everywhere in this class
            raise CandidateIncomplete(f"the area of transaction {self.transaction} was swept; publish again")
        for start in range(0, len(self._noted), _RECORD):
            text = self._noted[start : start + DIGEST_SIZE].hex()
            kind = chr(self._noted[start + DIGEST_SIZE]).strip()
            name = f"{text[:2]}/{text[2:]}{algorithm.value}{kind}"
            if not os.path.lexists(self._data + name):
                raise CandidateIncomplete(f"object data/{name} was collected meanwhile; publish again")

    def discard(self) -> None:
        """See ``StagingArea.discard``; objects stay, for a collection to find if no commit came."""
        discard_area(self._root / STAGING_DIRECTORY, self.transaction)

    def _place(self, name: str) -> str:
        return f"{self._data}{name[:2]}/{name[2:]}"
