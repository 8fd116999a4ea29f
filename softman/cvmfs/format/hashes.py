"""Content hashes, object kinds, object paths and path hashes.

Source of the facts: ``cvmfs/crypto/hash.h`` and ``hash.cc`` of CernVM-FS 2.12 (see ``docs/format.md``).
"""

import hashlib
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import lru_cache, partial
from typing import Any, NamedTuple

from softman.cvmfs.errors import FormatError

try:  # CPython's own MD5: three times as fast for a path as OpenSSL's, and there in FIPS mode, too
    from _md5 import md5 as _md5  # type: ignore[import-not-found]  # has no stubs
except ImportError:
    _md5 = partial(hashlib.md5, usedforsecurity=False)

md5: Callable[[bytes], Any] = _md5
"""MD5, which the format uses for nothing but the keys of rows."""

Bytes = bytes | bytearray | memoryview
"""What can be hashed and compressed."""


class HashAlgorithm(Enum):
    """A content hash algorithm: the value is the suffix it has in text."""

    SHA1 = ""
    RMD160 = "-rmd160"
    SHAKE128 = "-shake128"

    @property
    def flag_bits(self) -> int:
        """The algorithm as stored in bits 8 to 10 of a catalog row's flags (``algorithm id - 1``)."""
        return _FLAG_BITS[self]

    @classmethod
    def from_flag_bits(cls, flags: int) -> "HashAlgorithm":
        """The algorithm in bits 8 to 10 of ``flags``.

        Raises:
            FormatError: the bits name no known algorithm.
        """
        for algorithm, bits in _FLAG_BITS.items():
            if flags & 0x700 == bits:
                return algorithm
        msg = f"unknown hash algorithm in catalog flags {flags:#x}"
        raise FormatError(msg)


_FLAG_BITS = {HashAlgorithm.SHA1: 0, HashAlgorithm.RMD160: 0x100, HashAlgorithm.SHAKE128: 0x200}
_TEXT = re.compile(r"([0-9a-f]{40})(-rmd160|-shake128)?")
DIGEST_SIZE = 20
"""Bytes of every content hash (SHAKE-128 is cut to 160 bits)."""


class ObjectKind(StrEnum):
    """What an object is: the value is the letter appended to its file name."""

    FILE = ""
    CHUNK = "P"
    CATALOG = "C"
    HISTORY = "H"
    CERTIFICATE = "X"
    METAINFO = "M"


@dataclass(frozen=True, slots=True)
class ContentHash:
    """The identity of an object: the digest of its bytes as stored, and the algorithm.

    ``str()`` gives the textual form, hex with the algorithm's suffix and without the kind's letter.
    """

    digest: bytes
    algorithm: HashAlgorithm = HashAlgorithm.SHA1

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_SIZE:
            msg = f"a content hash has {DIGEST_SIZE} bytes, not {len(self.digest)}"
            raise FormatError(msg)

    def __str__(self) -> str:
        return self.digest.hex() + self.algorithm.value

    @classmethod
    def parse(cls, text: str) -> "ContentHash":
        """Read the textual form.

        Raises:
            FormatError: ``text`` is not 40 lower-case hex digits with a known suffix or none.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            msg = f"not a content hash: {text[:80]!r}"
            raise FormatError(msg)
        return cls(bytes.fromhex(match[1]), HashAlgorithm(match[2] or ""))

    def object_path(self, kind: ObjectKind) -> str:
        """The object's file below the repository root, ``data/ab/cdef...`` with suffix and letter."""
        text = str(self)
        return f"data/{text[:2]}/{text[2:]}{kind.value}"


class Hasher:
    """Feeds bytes and gives a ``ContentHash``."""

    def __init__(self, algorithm: HashAlgorithm = HashAlgorithm.SHA1) -> None:
        self._algorithm = algorithm
        self._state: Any = _new_state(algorithm)

    def update(self, data: Bytes) -> None:
        """Add ``data`` to what is hashed."""
        self._state.update(data)

    def finish(self) -> ContentHash:
        """The hash of everything fed so far."""
        if self._algorithm is HashAlgorithm.SHAKE128:
            return ContentHash(self._state.digest(DIGEST_SIZE), self._algorithm)
        return ContentHash(self._state.digest(), self._algorithm)


def _new_state(algorithm: HashAlgorithm) -> Any:
    if algorithm is HashAlgorithm.SHA1:
        return hashlib.sha1(usedforsecurity=False)  # the format's default; see docs/format.md
    if algorithm is HashAlgorithm.RMD160:
        return hashlib.new("ripemd160", usedforsecurity=False)
    return hashlib.shake_128(usedforsecurity=False)


def hash_bytes(data: Bytes, algorithm: HashAlgorithm = HashAlgorithm.SHA1) -> ContentHash:
    """The content hash of ``data``."""
    if algorithm is HashAlgorithm.SHA1:  # for every small file
        return ContentHash(hashlib.sha1(data, usedforsecurity=False).digest())
    hasher = Hasher(algorithm)
    hasher.update(data)
    return hasher.finish()


class PathHash(NamedTuple):
    """The key of a catalog row: the MD5 of a path as two signed little-endian 64-bit numbers."""

    md5path_1: int
    md5path_2: int


_unpack_key = struct.Struct("<qq").unpack
NO_PARENT = PathHash(0, 0)
"""The parent columns of the repository root's row."""


def path_hash(path: bytes) -> PathHash:
    """The key of ``path``: absolute inside the repository, no trailing slash, the root is ``b""``."""
    return PathHash(*_unpack_key(md5(path).digest()))


def path_key(path: bytes) -> tuple[int, int]:
    """The same as a plain tuple, which is made faster."""
    return _unpack_key(md5(path).digest())


def parent_hash(path: bytes) -> PathHash:
    """The key of the directory that holds ``path``; ``NO_PARENT`` for the repository root."""
    return NO_PARENT if path == b"" else _directory_hash(path.rpartition(b"/")[0])


_directory_hash = lru_cache(maxsize=256)(path_hash)  # a directory's entries come one after the other
