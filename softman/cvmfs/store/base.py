"""What reader and writer ask of a store, and the names that files in it can have."""

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from softman.cvmfs.areas import StagingArea
from softman.cvmfs.direct import DirectArea
from softman.cvmfs.errors import FormatError, TooLarge
from softman.cvmfs.format.hashes import ContentHash, ObjectKind

_HASH_REST = r"[0-9a-f]{38}(?:-rmd160|-shake128)?"
_NAME = re.compile(
    rf"data/[0-9a-f]{{2}}/{_HASH_REST}[PCHXM]?"  # an object
    rf"|\.cvmfsalt-[0-9a-f]{{2}}{_HASH_REST}[CHXM]"  # an object by its alternative path
    r"|\.cvmfs[a-z_.]{1,40}"  # manifest, whitelist, reflog and the like
)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as a listing shows it; ``size`` in bytes, ``modified`` in seconds of Unix time by the store's clock."""

    name: str
    size: int
    modified: float


class Readable(Protocol):
    """The bytes of a file while it is read."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, fewer only at the end; nothing when there are no more.

        Raises:
            StoreUnavailable: the store stopped answering.
        """


class ReadableStore(Protocol):
    """Reads the files of one repository. Content is not verified here.

    Names are relative to the repository's root directory, as ``ContentHash.object_path`` and the ``.cvmfs*`` files
    have them. Every method raises ``FormatError`` for anything else, ``StoreUnavailable`` when the store does not
    answer and ``StoreError`` when it refuses.
    """

    def open(self, name: str) -> AbstractContextManager[Readable]:
        """Open a file for reading from its beginning.

        Raises:
            ObjectMissing: there is no such file.
        """

    def get(self, name: str, *, max_size: int) -> bytes:
        """The whole content of a small file.

        Raises:
            ObjectMissing: there is no such file.
            TooLarge: it has more than ``max_size`` bytes; not more than that is read.
        """

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""


class Store(ReadableStore, Protocol):
    """Reads and writes the files of one repository. Readers always see an old or a new file, whole."""

    def ensure_directories(self) -> None:
        """Make the places that the other methods expect."""

    def put(self, name: str, data: bytes | Iterable[bytes], *, durable: bool = False) -> None:
        """Store a file, in place of any that has the name.

        Args:
            name: as everywhere.
            data: the content, or pieces of it.
            durable: return only when the file would survive a loss of power. For the manifest; objects are covered
                by ``sync``.
        """

    def promote(self, staged: Path, content: ContentHash, kind: ObjectKind) -> None:
        """Make a staged file an object of the repository, after hashing it once more.

        Whoever wrote the staged file is not trusted. An object that is already there, with its right content, is left
        as it is; a damaged one is replaced. The staged file may be gone afterwards.

        Args:
            staged: the file, on this machine; the object's stored bytes.
            content: the hash they must have.
            kind: of the object.

        Raises:
            ObjectMissing: ``staged`` does not exist, or is not a plain file.
            HashMismatch: its content has another hash; nothing was stored.
        """

    def is_stored(self, content: ContentHash, kind: ObjectKind, *, size: int | None = None) -> bool:
        """Whether an object is there in full.

        To be asked, instead of ``exists``, before something new refers to the object: where ``sync`` matters, a loss
        of power can leave a file that is too short under the object's name.

        Args:
            content: the object's hash.
            kind: its kind.
            size: its bytes as stored, when known; without it a file that may be cut short is hashed.
        """

    def listing(self, prefix: str = "") -> Iterator[StoredFile]:
        """The files whose names begin with ``prefix``, sorted by name, fetched as the caller goes on.

        For checks and for garbage collection; nothing that readers wait for may need it. What is staged, and what no
        repository has, is left out. A file that comes or goes meanwhile may be there or not.
        """

    def names(self, prefix: str = "") -> Iterator[str]:
        """The names that ``listing`` gives."""

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens when it is not there."""

    def sync(self) -> None:
        """Return when everything stored so far would survive a loss of power."""

    def lock(self, repository: str, *, timeout: float = 60) -> AbstractContextManager[None]:
        """Hold the right to change the repository.

        It keeps out other threads, processes and, where the file system can, hosts.

        Args:
            repository: its name, for messages.
            timeout: seconds to wait for another holder.

        Raises:
            StoreUnavailable: another holder kept it for longer than ``timeout``.
        """


class StagedStore(Store, Protocol):
    """A store beside which publishers stage; what stratum 0 does with what they leave. Nothing of it is trusted."""

    def new_area(self) -> StagingArea:
        """A staging area for a new transaction."""

    def open_staged(self, transaction: str, name: str) -> AbstractContextManager[Readable]:
        """Open what a publisher staged under ``staged_name``.

        Raises:
            ObjectMissing: there is no such plain file.
            PathError: this is no transaction's id.
        """

    def promote_staged(self, transaction: str, objects: Iterable[tuple[ContentHash, ObjectKind]]) -> None:
        """Make the objects of a transaction objects of the repository; see ``promote``.

        All of them must be staged or stored in full before the first is stored.

        Raises:
            ObjectMissing: one is neither staged nor stored in full, or what is staged is no plain file.
            HashMismatch: one has another hash.
            PathError: this is no transaction's id.
        """

    def discard_staged(self, transaction: str) -> None:
        """Remove a transaction's area; what cannot be removed is left for ``sweep_staged``.

        Raises:
            PathError: this is no transaction's id.
        """

    def oldest_staged(self) -> float | None:
        """Since when the oldest staging area is in use, in Unix time by the store's clock; None when there is none.

        Its transaction may count on everything that was stored since then.
        """

    def sweep_staged(self, older_than: float) -> int:
        """Remove staging areas in which nothing changed since ``older_than`` (Unix time); how many there were."""


@runtime_checkable
class DirectStore(StagedStore, Protocol):
    """A store that whoever holds the repository's keys may write objects into, without a stratum 0 in between."""

    def begin_direct(self) -> DirectArea:
        """Begin a transaction that writes objects to their final place. The caller holds the lock."""


def is_name(name: str) -> bool:
    """Whether a file of a repository can have this name."""
    return _NAME.fullmatch(name) is not None and ".." not in name


def check_name(name: str) -> str:
    """Give ``name`` back when a file of a repository can have it.

    The rule is so narrow that no name leads out of the repository, whatever it is joined to.

    Raises:
        FormatError: it is neither the name of an object nor of a ``.cvmfs*`` file.
    """
    if not is_name(name):
        raise FormatError(f"not the name of a file in a repository: {name[:100]!r}")
    return name


def read_all(source: Readable, name: str, *, max_size: int) -> bytes:
    """Everything in ``source``.

    Raises:
        TooLarge: more than ``max_size`` bytes.
        StoreUnavailable: the store stopped answering.
    """
    pieces: list[bytes] = []
    left = max_size + 1
    while left > 0 and (piece := source.read(left)):
        pieces.append(piece)
        left -= len(piece)
    if left <= 0:
        raise TooLarge(f"{name} has more than {max_size} bytes")
    return b"".join(pieces)
