"""A transaction: the next root catalog, made from the current one by adding, replacing and removing entries.

The catalog is copied to a scratch file and edited there; nothing else changes until stratum 0 commits the candidate.
One thread at a time may use a transaction; its ``Staging`` may be used by many.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import quote

from softman.cvmfs.entries import NO_ATTRIBUTES, check_values, directory_entry, file_entry, symlink_entry
from softman.cvmfs.errors import CvmfsError, PathError
from softman.cvmfs.format.catalog import sqlite_errors
from softman.cvmfs.format.catalog_writer import CatalogWriter
from softman.cvmfs.format.counters import CatalogCounters
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, path_hash
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.paths import check_writable, repository_path
from softman.cvmfs.staging import ChunkedContent, Staging, StoredObject

_PIECE = 1024 * 1024
_BATCH = 1000
"""How many entries of a directory are held at a time while it is removed."""

# Whether anything that was touched differs from the base in the end.
_ROW_DIFFERS = """
SELECT 1 FROM temp.touched t
LEFT JOIN main.catalog n ON n.md5path_1=t.md5path_1 AND n.md5path_2=t.md5path_2
LEFT JOIN base.catalog o ON o.md5path_1=t.md5path_1 AND o.md5path_2=t.md5path_2
WHERE (n.md5path_1, n.hardlinks, n.hash, n.size, n.mode, n.mtime, n.mtimens, n.flags, n.symlink, n.uid, n.gid, n.xattr)
 IS NOT (o.md5path_1, o.hardlinks, o.hash, o.size, o.mode, o.mtime, o.mtimens, o.flags, o.symlink, o.uid, o.gid,
         o.xattr)
LIMIT 1
"""
_CHUNKS_DIFFER = """
SELECT 1 FROM temp.touched t WHERE EXISTS (
  SELECT offset, size, hash FROM main.chunks c WHERE c.md5path_1=t.md5path_1 AND c.md5path_2=t.md5path_2
  EXCEPT SELECT offset, size, hash FROM base.chunks b WHERE b.md5path_1=t.md5path_1 AND b.md5path_2=t.md5path_2)
LIMIT 1
"""


class Base(Protocol):
    """What a transaction starts from; ``reader.Snapshot`` is one."""

    @property
    def manifest(self) -> Manifest:
        """The manifest of the revision."""

    @property
    def catalog_path(self) -> Path:
        """Its root catalog, verified, as a database file."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A root catalog that waits in the staging area to become the next revision."""

    base_revision: int
    base_root_hash: ContentHash
    root_hash: ContentHash
    root_size: int
    """Bytes of the database, uncompressed."""


class Transaction:
    """Builds the next revision on top of ``snapshot``. Use it as a context manager: leaving it removes scratch files.

    Paths are absolute inside the repository, text or bytes. Missing parents are made with mode 0755. A file takes the
    place of a directory with all that is in it, and the reverse; but a file is never turned into a directory because
    something is to be added below it. Owners are always 0. Every method raises ``PathError`` for an impossible path,
    and ``CvmfsError`` when a change would fall on or below the mountpoint of a nested catalog.

    Args:
        snapshot: the revision to build on; must stay open as long as the transaction.
        staging: where objects are staged and ``seal`` puts the catalog.
        now: the clock, for parents made by themselves and the time of the revision.
        work_dir: for the scratch file; None takes the system's temporary directory.

    Raises:
        FormatError: the root catalog cannot be read, or is of a schema revision that cannot be written.
    """

    def __init__(
        self, snapshot: Base, staging: Staging, *, now: Callable[[], datetime], work_dir: Path | None = None
    ) -> None:
        self._snapshot = snapshot
        self._staging = staging
        self._now = now
        self._directory = Path(tempfile.mkdtemp(prefix="softman-transaction-", dir=work_dir))
        self._scratch = self._directory / "catalog.db"
        try:
            shutil.copyfile(snapshot.catalog_path, self._scratch)
            self._db = sqlite3.connect(f"file:{quote(str(self._scratch))}", uri=True, isolation_level=None)
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise
        try:
            self._catalog = self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove scratch files; what is staged stays."""
        self._db.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def counters(self) -> CatalogCounters:
        """What the catalog adds up to now."""
        return self._catalog.counters

    def lookup(self, path: str | bytes) -> Entry | None:
        """The entry at ``path`` as of now, or None."""
        where = repository_path(path)
        entry = self._catalog.lookup(where)
        if entry is None:
            self._refuse_nested(where)
        return entry

    def listdir(self, path: str | bytes) -> Iterator[Entry]:
        """The entries of a directory in the order of their names' bytes.

        Raises:
            PathError: there is no such directory.
        """
        where = self._directory_at(repository_path(path))
        return self._catalog.listdir(where)

    def walk(self, path: str | bytes = b"") -> Iterator[Entry]:
        """Everything below a directory, depth first, children in the order of their names' bytes.

        A nested catalog's mountpoint is given, its content is not. Nothing may be changed meanwhile.

        Raises:
            PathError: there is no such directory.
        """
        pending = [self.listdir(path)]
        while pending:
            entry = next(pending[-1], None)
            if entry is None:
                pending.pop()
                continue
            yield entry
            if entry.is_dir and not entry.is_mountpoint:
                pending.append(self._catalog.listdir(entry.path))

    def add_file(
        self,
        path: str | bytes,
        stored: StoredObject | ChunkedContent,
        mode: int,
        mtime: int,
        *,
        mtime_ns: int | None = None,
        xattrs: Mapping[bytes, bytes] = NO_ATTRIBUTES,
    ) -> None:
        """Add or replace a regular file.

        Args:
            path: where.
            stored: its content, as ``Staging`` stored it.
            mode: permission bits; a file type, if given, is ignored.
            mtime: seconds.
            mtime_ns: nanoseconds within that second, or None.
            xattrs: extended attributes.

        Raises:
            PathError: also for set-id and sticky bits, and when a parent is no directory.
            FormatError: extended attributes or times that the format cannot hold.
        """
        entry = file_entry(self._writable(path), stored, mode, self._staging.algorithm)
        self._put(replace(entry, mtime=mtime, mtime_ns=mtime_ns, xattrs=dict(xattrs)))

    def add_directory(
        self,
        path: str | bytes,
        mode: int = 0o755,
        mtime: int | None = None,
        xattrs: Mapping[bytes, bytes] = NO_ATTRIBUTES,
        *,
        mtime_ns: int | None = None,
    ) -> None:
        """Add a directory, or give the one that is there these attributes; its content stays.

        Args and errors are as for ``add_file``; without ``mtime`` the present time is taken.
        """
        entry = directory_entry(self._writable(path), mode)
        when = self._seconds() if mtime is None else mtime
        self._put(replace(entry, mtime=when, mtime_ns=mtime_ns, xattrs=dict(xattrs)))

    def add_symlink(
        self,
        path: str | bytes,
        target: str | bytes,
        mtime: int,
        xattrs: Mapping[bytes, bytes] = NO_ATTRIBUTES,
        *,
        mtime_ns: int | None = None,
    ) -> None:
        """Add or replace a symbolic link.

        Args and errors are as for ``add_file``; a ``target`` that is empty, has a NUL or exceeds 4095 bytes is a
        ``PathError``.
        """
        entry = symlink_entry(self._writable(path), target)
        self._put(replace(entry, mtime=mtime, mtime_ns=mtime_ns, xattrs=dict(xattrs)))

    def set_xattrs(self, path: str | bytes, xattrs: Mapping[bytes, bytes]) -> None:
        """Replace the extended attributes of an entry; the root has them too.

        Raises:
            PathError: there is no such entry.
            FormatError: attributes that the format cannot hold.
        """
        where = repository_path(path)
        self._refuse_nested(where)
        entry = self._catalog.lookup(where)
        if entry is None:
            raise PathError(f"{where!r} does not exist")
        # A hard link with attributes of its own cannot stay in its group: members have the same data.
        linkcount = entry.linkcount if entry.is_dir else 1
        self._put(replace(entry, xattrs=dict(xattrs), hardlink_group=0, linkcount=linkcount))

    def remove(self, path: str | bytes) -> None:
        """Remove an entry, a directory with everything below it. Its parents stay.

        Raises:
            PathError: there is no such entry, or it is the root.
        """
        where = repository_path(path)
        if not where:
            raise PathError("the root of the repository cannot be removed")
        self._refuse_nested(where)
        entry = self._catalog.lookup(where)
        if entry is None:
            raise PathError(f"{where!r} does not exist")
        self._remove_tree(entry)

    def remove_empty_parents(self, path: str | bytes, keep: Callable[[Entry], bool]) -> None:
        """Remove the directories above ``path`` that are empty, from below, up to the first that ``keep`` wants.

        Args:
            path: need not exist any more.
            keep: asked for each empty directory; the root is never removed.
        """
        parent = repository_path(path).rpartition(b"/")[0]
        while parent:
            entry = self._catalog.lookup(parent)
            if entry is not None:  # one that is gone already may have been the last in its own parent
                if not entry.is_dir or entry.is_mountpoint or self._catalog.has_children(parent) or keep(entry):
                    return
                self._touch(parent)
                self._catalog.delete(entry)
            parent = parent.rpartition(b"/")[0]

    def seal(self) -> Candidate | None:
        """End the transaction: stage the new root catalog as a candidate for the next revision.

        Returns:
            The candidate, or None when in the end nothing differs from the base.

        Raises:
            StoreUnavailable: the staging area cannot be written now.
        """
        if not self._changed():
            return None
        manifest = self._snapshot.manifest
        properties = self._catalog.properties
        self._catalog.finish(
            revision=manifest.revision + 1,
            last_modified=max(self._seconds(), properties.last_modified),
            previous=manifest.root_hash,
            ttl=manifest.ttl,
        )
        with sqlite_errors():
            self._db.execute("COMMIT")
            self._db.execute("DETACH base")
        self._catalog.compact()
        self._db.close()
        root_size = self._scratch.stat().st_size
        with self._scratch.open("rb") as file:
            stored = self._staging.write_object(iter(lambda: file.read(_PIECE), b""), ObjectKind.CATALOG)
        return Candidate(manifest.revision, manifest.root_hash, stored.hash, root_size)

    def _open(self) -> CatalogWriter:
        with sqlite_errors():
            # A scratch file needs no protection against crashes; the header stays that of a rollback journal.
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-32768"):
                self._db.execute(f"PRAGMA main.{pragma}")
            self._db.execute("PRAGMA trusted_schema=OFF")
            base = f"file:{quote(str(self._snapshot.catalog_path))}?mode=ro&immutable=1"
            self._db.execute("ATTACH ? AS base", (base,))
            self._db.execute("CREATE TEMP TABLE touched (md5path_1, md5path_2, PRIMARY KEY (md5path_1, md5path_2))")
        catalog = CatalogWriter(self._db)
        self._mountpoints = frozenset(n.path for n in (*catalog.nested(), *catalog.bind_mountpoints()))
        with sqlite_errors():
            self._db.execute("BEGIN")
        return catalog

    def _changed(self) -> bool:
        with sqlite_errors():
            return any(self._db.execute(sql).fetchone() for sql in (_ROW_DIFFERS, _CHUNKS_DIFFER))

    def _touch(self, path: bytes) -> None:
        with sqlite_errors():
            self._db.execute("INSERT OR IGNORE INTO temp.touched VALUES (?, ?)", path_hash(path))

    def _writable(self, path: str | bytes) -> bytes:
        where = repository_path(path)
        check_writable(where)
        self._refuse_nested(where)
        return where

    def _refuse_nested(self, path: bytes) -> None:
        above = path
        while above:
            if above in self._mountpoints:
                raise CvmfsError(f"{path!r} is in the nested catalog at {above!r}, which cannot be changed yet")
            above = above.rpartition(b"/")[0]

    def _put(self, entry: Entry) -> None:
        check_values(entry)
        old = self._catalog.lookup(entry.path)
        if old is not None and old.is_dir and entry.is_dir:
            entry = replace(entry, linkcount=old.linkcount)
        if old == entry:
            return
        if old is None:
            self._make_parents(entry.path)
        elif old.is_dir and not entry.is_dir:
            self._remove_tree(old)
        self._touch(entry.path)
        self._catalog.put(entry)

    def _make_parents(self, path: bytes) -> None:
        missing: list[bytes] = []
        parent = path.rpartition(b"/")[0]
        while parent:
            entry = self._catalog.lookup(parent)
            if entry is not None:
                if not entry.is_dir:
                    raise PathError(f"{path!r}: {parent!r} is no directory")
                break
            missing.append(parent)
            parent = parent.rpartition(b"/")[0]
        for directory in reversed(missing):
            self._touch(directory)
            self._catalog.put(replace(directory_entry(directory), mtime=self._seconds()))

    def _remove_tree(self, top: Entry) -> None:
        below = top.path + b"/"
        for mountpoint in self._mountpoints:
            if mountpoint.startswith(below):
                raise CvmfsError(f"{mountpoint!r} is the mountpoint of a nested catalog, which cannot be removed yet")
        pending = [top]
        while pending:
            entry = pending[-1]
            children = self._catalog.some_children(entry.path, _BATCH) if entry.is_dir else []
            pending += [child for child in children if child.is_dir]
            for leaf in [child for child in children if not child.is_dir] if children else [pending.pop()]:
                self._touch(leaf.path)
                self._catalog.delete(leaf)

    def _seconds(self) -> int:
        return int(self._now().timestamp())

    def _directory_at(self, path: bytes) -> bytes:
        entry = self._catalog.lookup(path)
        if entry is None or entry.is_mountpoint:
            self._refuse_nested(path)
        if entry is None or not entry.is_dir:
            raise PathError(f"{path!r} is no directory")
        return path
