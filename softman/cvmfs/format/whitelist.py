"""``.cvmfswhitelist``: which certificates may sign a repository's manifests, and until when; signed by the master key.

Source: ``cvmfs/whitelist.cc``, ``cvmfs/server/cvmfs_server_ssl.sh``. The signature block below the lines is
``signature.py``.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm
from softman.cvmfs.format.names import check_repository_name
from softman.cvmfs.format.signature import SignedText, fingerprint

WHITELIST_NAME: Final = ".cvmfswhitelist"
"""The whitelist's file in the repository's root directory."""

MAX_WHITELIST_SIZE: Final = 256 * 1024
"""Bytes; room for some thousand certificates."""

DEFAULT_VALIDITY: Final = timedelta(days=30)
"""What stock tools give a whitelist."""

_TIME_FORMAT = "%Y%m%d%H%M%S"
_TIME = re.compile(r"[0-9]{14}")
_HEADER_LINES = 3
_COMMENT = re.compile(r"[ \t#].*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitelist:
    """The lines of a whitelist.

    Attributes:
        repository: the fully qualified name it is for.
        created: UTC, to the second; informational.
        expires: UTC, to the second.
        fingerprints: of the certificates allowed, each with the algorithm it is written in.
    """

    repository: str
    created: datetime
    expires: datetime
    fingerprints: tuple[ContentHash, ...]

    @classmethod
    def parse(cls, text: bytes) -> "Whitelist":
        """Read the lines above the signature block.

        Lines that are no fingerprint are passed over, as stock readers do.

        Raises:
            FormatError: creation time, expiry or name is missing or malformed, or the whitelist asks for a way of
                verification that is not built (``Vpkcs7``, ``Wcachain``).
        """
        try:
            lines = text.decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise FormatError("whitelist malformed: not text") from error
        if len(lines) < _HEADER_LINES or lines[1][:1] != "E" or lines[2][:1] != "N":
            raise FormatError("whitelist malformed: creation time, E and N lines expected")
        # Passing over these would mean checking less than the owner of the master key asked for.
        for line in lines[_HEADER_LINES:]:
            if line[:1] in {"V", "W"}:
                raise FormatError(f"whitelist asks for a verification that is not supported: {line[:20]!r}")
        return cls(
            repository=check_repository_name(lines[2][1:]),
            created=_parse_time(lines[0]),
            expires=_parse_time(lines[1][1:]),
            fingerprints=tuple(hash_ for line in lines[_HEADER_LINES:] if (hash_ := _parse_fingerprint(line))),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "SignedWhitelist":
        """Read a whitelist file. Nothing is verified.

        Raises:
            FormatError: the file has not the form of a whitelist.
            SignatureInvalid: the lines are not followed by a signature block.
        """
        if len(data) > MAX_WHITELIST_SIZE:
            raise FormatError(f"whitelist malformed: {len(data)} bytes, {MAX_WHITELIST_SIZE} at most")
        signed = SignedText.split(data, "whitelist")
        return SignedWhitelist(cls.parse(signed.text), signed)

    def to_text(self) -> bytes:
        """The lines as the stock tools write them, ready for ``signature.sign_whitelist``."""
        lines = [_time_text(self.created), f"E{_time_text(self.expires)}", f"N{self.repository}"]
        lines += [fingerprint_text(hash_) for hash_ in self.fingerprints]
        return "".join(line + "\n" for line in lines).encode()

    def is_expired(self, now: datetime) -> bool:
        """Whether clients refuse it at ``now``: from the beginning of the hour in which it expires."""
        return now >= self.expires.replace(minute=0, second=0, microsecond=0)

    def lists(self, certificate: bytes) -> bool:
        """Whether ``certificate`` (PEM) is allowed, by a fingerprint in whichever algorithm.

        Raises:
            FormatError: not a certificate in PEM.
        """
        algorithms = {hash_.algorithm for hash_ in self.fingerprints}
        return any(fingerprint(certificate, algorithm) in self.fingerprints for algorithm in algorithms)


@dataclass(frozen=True, slots=True)
class SignedWhitelist:
    """A whitelist file as read: its lines, and the signed text they came from."""

    whitelist: Whitelist
    signed: SignedText


def fingerprint_text(hash_: ContentHash) -> str:
    """A fingerprint as a whitelist shows it: upper-case hex in pairs, ``-RMD160`` or ``-SHAKE128`` behind."""
    return hash_.digest.hex(":").upper() + hash_.algorithm.value.upper()


def _parse_fingerprint(line: str) -> ContentHash | None:
    text = _COMMENT.sub("", line).lower()
    for algorithm in (HashAlgorithm.RMD160, HashAlgorithm.SHAKE128, HashAlgorithm.SHA1):
        if text.endswith(algorithm.value):
            digits = text.removesuffix(algorithm.value).replace(":", "")
            try:
                return ContentHash.parse(digits + algorithm.value)
            except FormatError:
                return None
    return None


def _time_text(when: datetime) -> str:
    return when.astimezone(UTC).strftime(_TIME_FORMAT)


def _parse_time(text: str) -> datetime:
    msg = f"whitelist malformed: not a time of the form YYYYMMDDhhmmss: {text[:40]!r}"
    if _TIME.fullmatch(text) is None:  # strptime alone would take fewer digits
        raise FormatError(msg)
    try:
        return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError as error:
        raise FormatError(msg) from error
