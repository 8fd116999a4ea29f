"""Looking at one object of the bucket: what it is now, its content staged while it streams. Runs in many threads."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore
from typing import Final

from softman.adapters.ports import BucketReader, ObjectBody
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.staging import ChunkedContent, Staging, StoredObject
from softman.errors import Conflict, ServiceUnavailable, SoftmanError
from softman.model import BucketObject, Refusal
from softman.services.archives.kinds import archive_kind_of
from softman.services.archives.limits import ArchiveLimits, ArchiveRefused
from softman.services.archives.staging import archive_turn, stage_archive
from softman.services.archives.tree import StagedTree
from softman.services.mapping import MAX_LINK, SNIFF_SIZE, Rules, Target, TargetKind

_TRIES: Final = 3
"""How often an object that changes while it is read is read in all, before it is left to the events of its changes."""
_LARGE: Final = 16 * 1024 * 1024
_large_ones: Final = BoundedSemaphore(2)
"""Of objects with more than ``_LARGE`` bytes, two are read on at a time: each takes up to 70 MB and all cores.

The beginning of the others, up to 4 MiB, is in memory meanwhile; no connection of theirs is open.
"""

Admit = Callable[[Target, BucketObject], Refusal | None]
"""Asked before content is read: whether it may be published there."""


def nothing() -> None:
    """There is nothing to check."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The bucket has no such object now."""

    target: Target


@dataclass(frozen=True, slots=True)
class Same:
    """The repository already shows this object as it is."""

    target: Target


@dataclass(frozen=True, slots=True)
class LinkText:
    """Where a symbolic link leads."""

    target: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """The object as it is now, with its content: None for a directory marker. ``target`` is the settled one."""

    target: Target
    info: BucketObject
    mode: int
    content: StoredObject | ChunkedContent | LinkText | StagedTree | None


Observation = Gone | Same | Seen | Refusal


class Observer:
    """Reads objects of one bucket into a staging area.

    Args:
        buckets: where to read.
        bucket: the bucket's name.
        staging: where content goes.
        rules: the mapping of the repository.
        admit: whether something may be published.
        archives: what an archive may hold.
        scratch: a directory for temporary files.
        check: called for each piece of content; what it raises ends the look.
    """

    def __init__(
        self,
        buckets: BucketReader,
        bucket: str,
        staging: Staging,
        rules: Rules,
        *,
        admit: Admit,
        archives: ArchiveLimits,
        scratch: Path,
        check: Callable[[], None] = nothing,
    ) -> None:
        self._check = check
        self._buckets = buckets
        self._bucket = bucket
        self._staging = staging
        self._rules = rules
        self._admit = admit
        self._archives = archives
        self._scratch = scratch

    def observe(self, target: Target, shown: Entry | None) -> Observation:
        """Look at the object behind ``target``; its content is read only when ``shown`` is not up to date.

        Args:
            target: where the key belongs, as far as the key says.
            shown: what the repository shows of this key, wherever; None to read it in any case.

        Raises:
            ServiceUnavailable: the object store does not answer, or the content broke off.
            Conflict: the object changes faster than it can be read; the events of its changes will ask again.
        """
        for _ in range(_TRIES - 1):
            with suppress(Conflict):
                return self._look(target, shown)
        return self._look(target, shown)

    def observe_small(self, asked: Mapping[str, tuple[Target, Entry | None]]) -> Iterator[tuple[str, Observation]]:
        """Look at several objects, each as ``observe`` does, but for archives; in the order in which they come.

        Left out are those that are not small or not there, and those with which something is wrong.

        Args:
            asked: by key, what ``observe`` is given.
        """
        for body in self._buckets.read_small(self._bucket, asked):
            target, shown = asked[body.info.key]
            with suppress(SoftmanError):  # looked at once more, it is raised by ``observe``
                yield target.key, self._judge(target, shown, body)

    def _look(self, target: Target, shown: Entry | None) -> Observation:
        turn = archive_turn() if target.kind is TargetKind.ARCHIVE else nullcontext()
        with turn, self._buckets.read(self._bucket, target.key) as body:
            return Gone(target) if body is None else self._judge(target, shown, body)

    def _judge(self, target: Target, shown: Entry | None, body: ObjectBody) -> Observation:
        settled = self._rules.settle(target, body.info)
        if isinstance(settled, Refusal):
            return settled
        if shown is not None and self._rules.is_current(shown, settled, body.info):
            return Same(settled)
        return self._admit(settled, body.info) or self._read(settled, body)

    def _read(self, target: Target, body: ObjectBody) -> Seen | Refusal:
        info = body.info
        if target.kind is TargetKind.DIRECTORY:
            return Seen(target, info, self._rules.mode(target, info), None)
        if target.kind is TargetKind.LINK:
            return self._link(target, body)
        if target.kind is TargetKind.ARCHIVE:
            return self._archive(target, body)
        return self._file(target, body)

    def _link(self, target: Target, body: ObjectBody) -> Seen | Refusal:
        text = bytearray()
        for chunk in body.chunks():
            text += chunk
            if len(text) > MAX_LINK + 1:
                break
        leads_to = self._rules.link(target, bytes(text))
        if isinstance(leads_to, Refusal):
            return Refusal(target.key, leads_to.reason, body.info.etag)
        return Seen(target, body.info, self._rules.mode(target, body.info), LinkText(leads_to))

    def _archive(self, target: Target, body: ObjectBody) -> Seen | Refusal:
        kind = archive_kind_of(target.key)
        assert kind is not None  # noqa: S101 - the mapping made it an archive for that
        try:
            tree = stage_archive(
                self._checked(body.chunks()), kind, self._staging, self._archives, scratch=self._scratch
            )
        except ArchiveRefused as exc:
            return Refusal(target.key, str(exc), body.info.etag)
        return Seen(target, body.info, self._rules.mode(target, body.info), tree)

    def _checked(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._check()
            yield chunk

    def _file(self, target: Target, body: ObjectBody) -> Seen:
        head = bytearray()
        with _large_ones if body.info.size > _LARGE else nullcontext():
            stored = self._staging.write_file(_with_head(self._checked(body.chunks()), head))
        if stored.size != body.info.size:
            msg = f"{target.key} broke off after {stored.size} of {body.info.size} bytes"
            raise ServiceUnavailable(msg)
        return Seen(target, body.info, self._rules.mode(target, body.info, bytes(head)), stored)


def _with_head(chunks: Iterator[bytes], head: bytearray) -> Iterator[bytes]:
    for chunk in chunks:
        if len(head) < SNIFF_SIZE:
            head += chunk[: SNIFF_SIZE - len(head)]
        yield chunk
