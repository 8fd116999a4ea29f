"""Rows of table ``catalog`` on their way in, as tuples in the order of the columns, and numbers that stand for them."""

import marshal
from hashlib import blake2b
from typing import Final

from softman.cvmfs.format import xattrs
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.hashes import PathHash, path_key

Row = tuple[int | bytes | None, ...]
FINGERPRINT_BITS: Final = 128
INSERT_ROW: Final = (
    "INSERT INTO catalog VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?)"
)


def columns_of(entry: Entry) -> Row:
    """The row's values from column ``hash`` on."""
    return (
        None if entry.hash is None else entry.hash.digest,
        entry.size,
        entry.mode,
        entry.mtime,
        entry.mtime_ns,
        entry.flags,
        entry.name,
        entry.symlink,
        entry.uid,
        entry.gid,
        xattrs.encode(entry.xattrs),
    )


def fingerprint(entry: Entry, columns: Row | None = None) -> int:
    """A number that stands for the row; sums of it stand for sets of rows. Without a directory's link count."""
    hardlinks = 0 if entry.is_dir else entry.hardlink_group << 32 | entry.linkcount
    chunks = tuple((chunk.offset, chunk.size, chunk.hash.digest) for chunk in entry.chunks) if entry.chunks else ()
    return _number(entry.path, hardlinks, columns or columns_of(entry), chunks)


def file_row(  # noqa: PLR0917 - for every file of a tree: names of arguments would cost as much as the rest
    path: bytes,
    name: bytes,
    parent: PathHash,
    digest: bytes,
    size: int,
    mode: int,
    mtime: int,
    mtime_ns: int,
    flags: int,
) -> tuple[Row, int]:
    """The row of a plain file, owned by root and with no other names, and its fingerprint."""
    columns = (digest, size, mode, mtime, mtime_ns, flags, name, b"", 0, 0, None)
    return (*path_key(path), *parent, 1, *columns), _number(path, 1, columns, ())


def _number(path: bytes, hardlinks: int, columns: Row, chunks: tuple[tuple[int, int, bytes], ...]) -> int:
    # Version 2 of the format is the last without references, which would depend on more than the values.
    row = marshal.dumps((path, hardlinks, columns, chunks), 2)
    return int.from_bytes(blake2b(row, digest_size=FINGERPRINT_BITS // 8).digest())
