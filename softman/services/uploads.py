"""Uploads in the browser: what would become of each file, how it is cut into parts, and when it is published.

Who may upload is not decided here. The bytes never pass softman: browsers get signed requests of a short life, each for
one key, one part and one size.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from softman.adapters.upload_ports import SignedRequest, StoredPart, UploadStore
from softman.cvmfs.errors import CvmfsError
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.snapshot import Snapshot
from softman.errors import Conflict, InvalidInput, NotFound, ServiceUnavailable, SoftmanError
from softman.model import PUBLISHED_PREFIX, Quotas, Refusal, RegistryRecord
from softman.names import RepositoryName
from softman.services.configuration import CONFIGURATION_KEY, parse_configuration
from softman.services.mapping import Rules, SiteRules, Target, TargetKind, mark_of

MEBIBYTE: Final = 1024**2
AT_ONCE: Final = 16 * MEBIBYTE
"""Files up to this size are put at once; larger ones come in parts of at least this size."""
_MOST_PARTS: Final = 5_000
"""Half of what S3 allows."""
_LARGEST_PART: Final = 5 * 1024**3
_LONGEST_KEY: Final = 1024
_YEAR_9999: Final = 253_402_300_800


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file in a browser: its path below the top of the repository, bytes, and Unix time of its last change."""

    path: str
    size: int
    mtime: float | None = None

    @property
    def key(self) -> str:
        """The key that it would have."""
        return PUBLISHED_PREFIX + self.path

    @property
    def metadata(self) -> dict[str, str]:
        """What is stored with the object; the time as rclone and s3fs write it."""
        if self.mtime is None or not 0 <= self.mtime < _YEAR_9999:
            return {}
        return {"mtime": f"{self.mtime:.3f}"}


@dataclass(frozen=True, slots=True)
class Planned:
    """What would become of one file.

    Attributes:
        path: as it was asked for.
        shown: where it will be in the repository; empty when it is refused.
        kind: what it will be there.
        reason: why it is refused, or None.
        replaces: bytes of what is there now and would be replaced, or None.
        part: bytes of one part; 0 for a file that is put at once.
    """

    path: str
    shown: str = ""
    kind: TargetKind = TargetKind.FILE
    reason: str | None = None
    replaces: int | None = None
    part: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What would become of several files.

    Attributes:
        files: one each, in the order in which they were asked for.
        bytes_left: of the repository's quota before the upload, None where that is not known now.
        entries_left: likewise.
    """

    files: tuple[Planned, ...]
    bytes_left: int | None = None
    entries_left: int | None = None


class Uploads:
    """Prepares uploads and follows them.

    Args:
        store: the object store, with a credential that can put and nothing else.
        open_snapshot: a repository as it is published now.
        site: what the site says about all repositories.
    """

    def __init__(
        self,
        store: UploadStore,
        open_snapshot: Callable[[RepositoryName], AbstractContextManager[Snapshot]],
        site: SiteRules,
    ) -> None:
        self._store = store
        self._open_snapshot = open_snapshot
        self._site = site

    def plan(self, record: RegistryRecord, files: Sequence[LocalFile]) -> Plan:
        """Say what would become of files; nothing is changed. Rules and quotas are those that a sync has."""
        rules = self._rules(record)
        planned = [_planned(rules, record.quotas, file) for file in files]
        try:
            with self._open_snapshot(record.repository) as snapshot:
                total = snapshot.catalog.counters.total
                seen = tuple(_with_present(snapshot, each) for each in planned)
        except (CvmfsError, SoftmanError):  # not made yet, or not reachable: names can be judged all the same
            return Plan(tuple(planned))
        quotas = record.quotas
        return Plan(seen, max(0, quotas.max_bytes - total.file_size), max(0, quotas.max_entries - total.entries))

    def sign_put(self, record: RegistryRecord, file: LocalFile) -> SignedRequest:
        """Allow one file to be put at once.

        Raises:
            InvalidInput: it would be refused, with the reason; or it is too large for one request.
        """
        self._check(record, file)
        if file.size > AT_ONCE:
            msg = f"{file.path} has {file.size} bytes; more than {AT_ONCE} are uploaded in parts"
            raise InvalidInput(msg)
        return self._store.sign_put(record.repository.bucket, file.key, file.size, file.metadata)

    def begin(self, record: RegistryRecord, file: LocalFile) -> str:
        """Begin to upload a file in parts; the upload's id. Errors as for ``sign_put``."""
        self._check(record, file)
        return self._store.begin(record.repository.bucket, file.key, file.metadata)

    def sign_parts(
        self, record: RegistryRecord, file: LocalFile, upload: str, numbers: Sequence[int]
    ) -> dict[int, SignedRequest]:
        """Allow parts of an upload, each with its own size; the first is 1.

        Raises:
            InvalidInput: the file has no such part; or as for ``sign_put``.
        """
        self._check(record, file)
        sizes = _part_sizes(file.size)
        if strange := [number for number in numbers if not 1 <= number <= len(sizes)]:
            msg = f"{file.path} has {len(sizes)} parts, and no part {strange[0]}"
            raise InvalidInput(msg)
        sign, bucket = self._store.sign_part, record.repository.bucket
        return {number: sign(bucket, file.key, upload, number, sizes[number - 1]) for number in numbers}

    def arrived(self, record: RegistryRecord, file: LocalFile, upload: str) -> list[int]:
        """The parts of an upload that have arrived whole, sorted.

        Raises:
            NotFound: there is no such upload, or no more.
        """
        return sorted(self._whole(record, file, upload))

    def complete(self, record: RegistryRecord, file: LocalFile, upload: str) -> str:
        """Make the object of its parts; its ETag.

        Raises:
            Conflict: parts are missing; the message names the first.
            NotFound: there is no such upload, or no more.
        """
        self._check(record, file)
        parts = self._whole(record, file, upload)
        for number in range(1, len(_part_sizes(file.size)) + 1):
            if number not in parts:
                msg = f"part {number} of {file.path} has not arrived"
                raise Conflict(msg)
        return self._store.complete(record.repository.bucket, file.key, upload, parts)

    def abort(self, record: RegistryRecord, file: LocalFile, upload: str) -> None:
        """Forget an upload in parts; nothing happens when there is none."""
        try:
            self._store.abort(record.repository.bucket, file.key, upload)
        except NotFound:
            return

    def published(self, record: RegistryRecord, etags: dict[str, str]) -> set[str]:
        """Which files are published as they were uploaded.

        Args:
            record: of the repository.
            etags: the ETag of each object, by the file's path.

        Raises:
            ServiceUnavailable: it cannot be read now.
        """
        rules = self._rules(record)
        try:
            with self._open_snapshot(record.repository) as snapshot:
                return {path for path, etag in etags.items() if _shows(snapshot, rules, path, etag)}
        except CvmfsError as exc:
            msg = f"{record.repository} cannot be read now: {exc}"
            raise ServiceUnavailable(msg) from exc

    def _check(self, record: RegistryRecord, file: LocalFile) -> None:
        reason = _planned(self._rules(record), record.quotas, file).reason
        if reason is not None:
            msg = f"{file.path[:300]!r} cannot be published: {reason}"
            raise InvalidInput(msg)

    def _whole(self, record: RegistryRecord, file: LocalFile, upload: str) -> dict[int, StoredPart]:
        sizes = _part_sizes(file.size)
        found = self._store.parts(record.repository.bucket, file.key, upload)
        return {
            number: part
            for number, part in found.items()
            if 1 <= number <= len(sizes) and part.size == sizes[number - 1]
        }

    def _rules(self, record: RegistryRecord) -> Rules:
        configuration = parse_configuration(record.configuration.encode()) if record.configuration else None
        return Rules(str(record.repository), configuration, self._site)


def part_size(size: int) -> int:
    """Bytes of one part of a file: 0 when it is put at once."""
    if size <= AT_ONCE:
        return 0
    return max(AT_ONCE, math.ceil(size / _MOST_PARTS / MEBIBYTE) * MEBIBYTE)


def _part_sizes(size: int) -> list[int]:
    part = part_size(size) or max(size, 1)
    return [min(part, size - at) for at in range(0, size, part)]


def _planned(rules: Rules, quotas: Quotas, file: LocalFile) -> Planned:
    if file.key == CONFIGURATION_KEY:
        return Planned(file.path, part=part_size(file.size))
    target = rules.target_of(file.key)
    reason = _reason(target, quotas, file)
    if reason is not None or not isinstance(target, Target):
        return Planned(file.path, reason=reason)
    return Planned(file.path, target.path.decode(errors="replace"), target.kind, part=part_size(file.size))


def _reason(target: Target | Refusal | None, quotas: Quotas, file: LocalFile) -> str | None:
    if isinstance(target, Refusal):
        return target.reason
    if target is None:
        return "the repository's settings say to ignore it"
    length = len(file.key.encode())
    if length > _LONGEST_KEY:
        return f"its whole name has {length} bytes; an object store takes {_LONGEST_KEY}"
    if target.kind is TargetKind.DIRECTORY and file.size:
        return "a name ending in a slash is a folder and cannot have content"
    is_archive = target.kind is TargetKind.ARCHIVE
    largest = min(quotas.max_archive_bytes if is_archive else quotas.max_object_bytes, _LARGEST_PART * _MOST_PARTS)
    if file.size > largest:
        return f"it has {file.size} bytes; {'an archive' if is_archive else 'a file'} may have {largest}"
    return None


def _with_present(snapshot: Snapshot, planned: Planned) -> Planned:
    if planned.reason is not None or not planned.shown or planned.kind is TargetKind.DIRECTORY:
        return planned
    present = _entry(snapshot, planned.shown)
    if present is None or present.is_dir is not (planned.kind is TargetKind.ARCHIVE):
        return planned
    return Planned(planned.path, planned.shown, planned.kind, None, present.size, planned.part)


def _shows(snapshot: Snapshot, rules: Rules, path: str, etag: str) -> bool:
    target = rules.target_of(PUBLISHED_PREFIX + path)
    if not isinstance(target, Target):
        return PUBLISHED_PREFIX + path == CONFIGURATION_KEY
    entry = _entry(snapshot, target.path.decode(errors="surrogateescape"))
    words = (mark_of(entry) or b"").split(b" ") if entry is not None else []
    return len(words) > 1 and words[1] == etag.encode(errors="replace")


def _entry(snapshot: Snapshot, path: str) -> Entry | None:
    try:
        return snapshot.lookup(path.encode(errors="surrogateescape"))
    except CvmfsError:
        return None
