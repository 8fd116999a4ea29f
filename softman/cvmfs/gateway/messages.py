"""Requests and answers of a repository gateway, as JSON.

Almost every answer has the HTTP status 200: whether something was done stands in its ``status``. Source:
``frontend/leases.go``, ``frontend/payloads.go``, ``backend/*.go``, ``cvmfs/gateway_util.cc``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from softman.cvmfs.errors import (
    FormatError,
    GatewayError,
    GatewayRefused,
    GatewayUnavailable,
    LeaseBusy,
    LeaseLost,
)
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.gateway.gotime import parse_duration

API_ROOT: Final = "/api/v1"
CLIENT_VERSION: Final = 2
"""The protocol version that stock publishers speak, and the oldest that is understood."""
SERVER_VERSION: Final = 3
"""The newest protocol version. It adds ``POST /payloads/<token>``."""
MAX_MESSAGE: Final = 64 * 1024
"""Bytes of a request's JSON, and of an answer that is no list."""

INVALID_HMAC: Final = "invalid_hmac"
INVALID_LEASE: Final = "invalid lease"
INVALID_PATH: Final = "authorization error: invalid_path"
INVALID_KEY: Final = "authorization error: invalid_key"
INVALID_REPOSITORY: Final = "invalid_repo"
UNKNOWN_REPOSITORY: Final = "repository not found: %!w(<nil>)"
DISABLED: Final = "repo_disabled"
NOT_ADMIN: Final = "no_admin_key"

_REASONS: Final[tuple[tuple[str, type[GatewayError]], ...]] = (
    (INVALID_HMAC, GatewayRefused),
    ("authorization error", GatewayRefused),
    ("incompatible request version", GatewayRefused),
    ("repository not found", GatewayRefused),
    (INVALID_REPOSITORY, GatewayRefused),
    ("invalid_key", GatewayRefused),
    ("invalid_authorization_header", GatewayRefused),
    (NOT_ADMIN, GatewayRefused),
    ("path_violation", GatewayRefused),
    ("missing repository name", GatewayRefused),
    ("input has leading slash", GatewayRefused),
    (INVALID_LEASE, LeaseLost),
    ("lease not found", LeaseLost),
    ("could not obtain statistics counters", LeaseLost),  # the gateway was started again meanwhile
    (DISABLED, GatewayUnavailable),
    ("worker '", GatewayUnavailable),
    ("miscellaneous", GatewayUnavailable),  # also said when only the work after the publication failed
    ("other_error", GatewayUnavailable),
    ("uploader_error", GatewayUnavailable),
    ("runtime error", GatewayUnavailable),
    ("could not ", GatewayUnavailable),
    ("merge_error", GatewayError),
    ("missing_reflog", GatewayError),
)
"""How a reason begins, and what it means. What is not listed is a ``GatewayError``."""


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """A wish for the right to change what lies below ``path``."""

    repository: str
    path: str = ""
    """Without a slash at either end; empty for the whole repository."""
    hostname: str = ""
    version: int = CLIENT_VERSION

    def to_bytes(self) -> bytes:
        """The body of the request."""
        fields = {
            "path": f"{self.repository}/{self.path}",
            "api_version": str(self.version),
            "hostname": self.hostname,
        }
        return _dump(fields).encode()

    @classmethod
    def parse(cls, body: bytes) -> tuple[str, "LeaseRequest"]:
        """The path as it was sent, and the request, whose path is not looked at yet.

        Raises:
            FormatError: not an object with texts for ``path``, ``hostname`` and ``api_version``, a number.
        """
        fields = _load(body)
        version = _text(fields, "api_version")
        if not version.isascii() or not version.isdecimal() or len(version) > len(str(2**31)):
            raise FormatError("api_version is no number")
        return _text(fields, "path"), cls("", "", _text(fields, "hostname"), int(version))


def split_lease_path(path: str) -> tuple[str, str]:
    """The repository and the directory of a lease path ``<repository>/<directory>``.

    Raises:
        GatewayRefused: with the reason that the official gateway gives.
    """
    if path.startswith("/"):
        raise GatewayRefused("input has leading slash")
    repository, slash, directory = path.partition("/")
    if not repository or not slash:
        raise GatewayRefused("missing repository name or subpath")
    return repository, directory


@dataclass(frozen=True, slots=True)
class PayloadMessage:
    """What comes before an object pack: under which lease, and how to read the pack's header."""

    session_token: str
    payload_digest: str
    """SHA-1 of the pack's header alone, hex."""
    header_size: int
    version: int = CLIENT_VERSION

    def to_bytes(self) -> bytes:
        """The JSON that the body begins with."""
        fields = {
            "session_token": self.session_token,
            "payload_digest": self.payload_digest,
            "header_size": str(self.header_size),  # a text: a number is refused
            "api_version": str(self.version),
        }
        return _dump(fields).encode()

    @classmethod
    def parse(cls, message: bytes) -> "PayloadMessage":
        """Read the first bytes of a body.

        Raises:
            FormatError: not an object with texts, or the size is no number.
        """
        fields = _load(message)
        size = _text(fields, "header_size")
        if not size.isascii() or not size.isdecimal() or len(size) > len(str(MAX_MESSAGE**2)):
            raise FormatError("header_size is no number")
        return cls(_text(fields, "session_token"), _text(fields, "payload_digest"), int(size))


@dataclass(frozen=True, slots=True)
class CommitMessage:
    """The wish that what was sent becomes a revision."""

    old_root: ContentHash
    """The root catalog that the publisher began with."""
    new_root: ContentHash
    tag_name: str = ""
    tag_channel: int = 0
    tag_description: str = ""

    def to_bytes(self) -> bytes:
        """The body of the request."""
        fields = {
            "old_root_hash": f"{self.old_root}{ObjectKind.CATALOG.value}",
            "new_root_hash": f"{self.new_root}{ObjectKind.CATALOG.value}",
            "tag_name": self.tag_name,
            "tag_channel": self.tag_channel,
            "tag_description": self.tag_description,
        }
        return _dump(fields).encode()

    @classmethod
    def parse(cls, body: bytes) -> "CommitMessage":
        """Read the body of a request. The letter at the end of a hash may be missing.

        Raises:
            FormatError: not an object with two hashes, or the tag is none.
        """
        fields = _load(body)
        channel = fields.get("tag_channel", 0)
        if not isinstance(channel, int) or isinstance(channel, bool):
            raise FormatError("tag_channel is no number")
        return cls(
            _root(_text(fields, "old_root_hash")),
            _root(_text(fields, "new_root_hash")),
            _text(fields, "tag_name"),
            channel,
            _text(fields, "tag_description"),
        )


def to_answer(fields: Mapping[str, object]) -> bytes:
    """An answer as the official gateway writes it: sorted by name, and safe inside of HTML."""
    text = _dump(dict(sorted(fields.items())))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text.encode()


def check_answer(status: int, body: bytes) -> dict[str, Any]:
    """The fields of an answer that says ``ok``, or has no status.

    Args:
        status: of HTTP.
        body: of the answer.

    Raises:
        LeaseBusy: another publisher has the path.
        GatewayRefused: key, path, repository or request are not accepted.
        LeaseLost: the lease is over.
        GatewayUnavailable: it failed, or the answer cannot be understood.
        GatewayError: it will not do it, whoever asks.
    """
    if status in range(400, 500):
        raise GatewayRefused(f"the gateway answers {status}: {_shown(body)}")
    if status not in range(200, 300):
        error = LeaseLost if body.strip() == INVALID_LEASE.encode() else GatewayUnavailable
        raise error(f"the gateway answers {status}: {_shown(body)}")
    try:
        fields = _load(body)
    except FormatError as exc:
        raise GatewayUnavailable(f"the answer of the gateway cannot be understood: {exc}") from exc
    said = fields.get("status", "ok")
    if said == "ok":
        return fields
    if said == "path_busy":
        seconds = _remaining(fields)
        raise LeaseBusy(f"another publisher has the path, for {seconds:.0f} s at most", seconds)
    reason = str(fields.get("reason", said))
    raise error_of(reason)(f"the gateway answers: {reason[:500]}")


def error_of(reason: str) -> type[GatewayError]:
    """What a reason means."""
    return next((error for begin, error in _REASONS if reason.startswith(begin)), GatewayError)


def _remaining(fields: Mapping[str, Any]) -> float:
    try:
        return parse_duration(str(fields.get("time_remaining", "")))
    except FormatError:
        return 0.0


def _dump(fields: Mapping[str, object]) -> str:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def _load(body: bytes) -> dict[str, Any]:
    """The first JSON value of a body; what follows is not looked at."""
    try:
        fields, _ = json.JSONDecoder().raw_decode(body.decode().lstrip())
    except (ValueError, RecursionError) as exc:
        raise FormatError("not JSON") from exc
    if not isinstance(fields, dict):
        raise FormatError("not a JSON object")
    return fields


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise FormatError(f"{name} is no text")
    return value


def _root(text: str) -> ContentHash:
    return ContentHash.parse(text.removesuffix(ObjectKind.CATALOG.value))


def _shown(body: bytes) -> str:
    return body[:200].decode(errors="backslashreplace").strip()
