"""``.cvmfspublished``, the manifest: which root catalog is current, and what belongs to it.

One field a line, its key the first character (``cvmfs/manifest.cc``). The signature block below the fields is
``signature.py``; whether to believe a manifest is ``softman/cvmfs/verify.py``.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.hashes import ContentHash
from softman.cvmfs.format.names import check_repository_name
from softman.cvmfs.format.signature import SignedText

T = TypeVar("T")

MANIFEST_NAME: Final = ".cvmfspublished"
"""The manifest's file in the repository's root directory."""

MAX_MANIFEST_SIZE: Final = 4095
"""Bytes; the server tools refuse manifests of 4096 bytes and more."""

DEFAULT_TTL: Final = 240
"""Seconds; what stock tools write."""

ROOT_PATH_HASH: Final = hashlib.md5(b"", usedforsecurity=False).hexdigest()
"""The only value of field ``R`` that clients accept: the MD5 of the root's path."""

_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The fields of a manifest.

    Attributes:
        root_hash: the root catalog (``C``).
        root_size: bytes of the root catalog's database, uncompressed (``B``); 0 when the manifest does not say.
        ttl: seconds after which clients look again (``D``).
        revision: counts up with every publication (``S``).
        repository: the fully qualified name (``N``).
        certificate: the object that holds the signing certificate (``X``).
        published_at: Unix time, seconds (``T``).
        garbage_collectable: ``G``.
        alternative_path: ``A``; files ``.cvmfsalt-*`` exist beside ``data``.
        history: the tag database (``H``), if there is one.
        metainfo: the repository's meta information (``M``), if there is any.
        reflog: hash of the file ``.cvmfsreflog`` (``Y``), if there is one.
    """

    root_hash: ContentHash
    root_size: int
    ttl: int
    revision: int
    repository: str
    certificate: ContentHash
    published_at: int
    garbage_collectable: bool = False
    alternative_path: bool = False
    history: ContentHash | None = None
    metainfo: ContentHash | None = None
    reflog: ContentHash | None = None

    @classmethod
    def parse(cls, text: bytes) -> "Manifest":
        """Read the field lines; unknown fields are passed over, as stock readers do.

        Raises:
            FormatError: a field that verification needs is missing, a field is there twice, or a value has the wrong
                form. The message names the field.
        """
        fields = _Fields(text)
        fields.required("R", _root_path)
        return cls(
            root_hash=fields.required("C", ContentHash.parse),
            root_size=fields.optional("B", _number) or 0,
            ttl=fields.required("D", _number),
            revision=fields.required("S", _number),
            repository=fields.required("N", check_repository_name),
            certificate=fields.required("X", ContentHash.parse),
            published_at=fields.required("T", _number),
            garbage_collectable=fields.optional("G", _yes_no) or False,
            alternative_path=fields.optional("A", _yes_no) or False,
            history=fields.optional("H", ContentHash.parse),
            metainfo=fields.optional("M", ContentHash.parse),
            reflog=fields.optional("Y", ContentHash.parse),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "SignedManifest":
        """Read a manifest file. Nothing is verified.

        Raises:
            FormatError: the file has not the form of a manifest.
            SignatureInvalid: the fields are not followed by a signature block.
        """
        if len(data) > MAX_MANIFEST_SIZE:
            raise FormatError(f"manifest malformed: {len(data)} bytes, {MAX_MANIFEST_SIZE} at most")
        if not data:
            raise FormatError("manifest malformed: empty file")
        signed = SignedText.split(data, "manifest")
        return SignedManifest(cls.parse(signed.text), signed)

    def to_text(self) -> bytes:
        """The field lines in the order of the stock writer, ready for ``signature.sign_manifest``."""
        lines = [
            f"C{self.root_hash}",
            f"B{self.root_size}",
            f"R{ROOT_PATH_HASH}",
            f"D{self.ttl}",
            f"S{self.revision}",
            f"G{'yes' if self.garbage_collectable else 'no'}",
            f"A{'yes' if self.alternative_path else 'no'}",
            f"N{self.repository}",
            f"X{self.certificate}",
        ]
        if self.history is not None:
            lines.append(f"H{self.history}")
        lines.append(f"T{self.published_at}")
        if self.metainfo is not None:
            lines.append(f"M{self.metainfo}")
        if self.reflog is not None:
            lines.append(f"Y{self.reflog}")
        return "".join(line + "\n" for line in lines).encode()


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A manifest file as read: the fields, and the signed text they came from."""

    manifest: Manifest
    signed: SignedText


class _Fields:
    """The lines of a manifest by their key."""

    def __init__(self, text: bytes) -> None:
        try:
            lines = text.decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise FormatError("manifest malformed: the fields are not text") from error
        self._values: dict[str, str] = {}
        for line in lines:
            if line[:1] in self._values:
                raise FormatError(f"manifest malformed: field {line[:1]} is there twice")
            if line:
                self._values[line[0]] = line[1:]

    def required(self, key: str, parse: Callable[[str], T]) -> T:
        if key not in self._values:
            raise FormatError(f"manifest malformed: required field {key} missing")
        try:
            return parse(self._values[key])
        except FormatError as error:
            raise FormatError(f"manifest malformed: field {key}: {error}") from error

    def optional(self, key: str, parse: Callable[[str], T]) -> T | None:
        return self.required(key, parse) if key in self._values else None


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise FormatError(f"not a number: {text[:40]!r}")
    return int(text)


def _yes_no(text: str) -> bool:
    if text not in {"yes", "no"}:
        raise FormatError(f"neither yes nor no: {text[:40]!r}")
    return text == "yes"


def _root_path(text: str) -> str:
    if text != ROOT_PATH_HASH:
        raise FormatError("not the hash of the root path")
    return text
