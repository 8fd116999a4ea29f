"""Looking after what is stored: garbage is collected, objects are read, what is damaged is repaired from the bucket.

One repository at a time, for a bounded time; how far it came is noted, and the next turn goes on there. An object that
is damaged or missing is a *fault* until it is found intact, or nothing refers to it any more. Publishers can make it
anew when the bucket still has the content: a sync that verifies its key is asked for with each turn that finds it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from softman.adapters.ports import Records, Registry, UpkeepMarks
from softman.cvmfs.errors import CvmfsError, StoreUnavailable
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.repository import Collection, Repository, Retention, Turns
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.sounding import Named, Sounding, paths_of, sound
from softman.cvmfs.store.base import ReadableStore
from softman.errors import InvalidInput, SoftmanError
from softman.log import get_logger
from softman.model import Fault, RegistryRecord, State, UpkeepMark
from softman.names import RepositoryName
from softman.services.lifecycle import is_closed, known
from softman.services.mapping import SOURCE_XATTR, source_key
from softman.services.material import KeyMaterial, Material
from softman.services.translate import cvmfs_errors

MAX_FAULTS = 100
"""Faults of a repository that are known at a time; others are found when those are gone."""
HOLD_SECONDS = 5.0
"""So long a collection keeps commits waiting in one go."""
_BAD = "is missing, or not what its hash says"
_HASH = re.compile(r"[0-9a-f]{0,128}", re.ASCII)
LOOK_AGAIN_SECONDS = 600.0
"""So soon a fault is looked at again, and its repair asked for again."""
_HASH_SPACE = 2**32
_PORTION = 0.01
"""Of a cycle; with less to read it is not worth walking over the catalogs."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is kept, and how often it is looked after.

    Attributes:
        retention: which revisions a collection keeps.
        collect: how often garbage is collected.
        cycle: within which time every object is read.
    """

    retention: Retention
    collect: timedelta
    cycle: timedelta


@dataclass(frozen=True, slots=True)
class Checked:
    """What one turn of a check came to.

    Attributes:
        objects: that were read.
        bytes: of those, as stored.
        faults: what is wrong now.
        repaired: what was wrong, and is not any more.
        keys: prefixes of the bucket to be synced with verification, which repairs what can be.
        after: the hash that it came to; empty at the end.
    """

    objects: int
    bytes: int
    faults: tuple[Fault, ...]
    repaired: tuple[Fault, ...]
    keys: tuple[str, ...]
    after: str


class Upkeep:
    """Looks after the storage of repositories.

    Args:
        registry: which repositories there are.
        material: the keys that sign.
        open_repository: the storage of a repository, with the keys in use.
        marks: how far it is.
        records: tells people.
        schedule: what is kept, and how often it is looked after.
        clock: the present time, with a time zone.
    """

    def __init__(
        self,
        registry: Registry,
        material: KeyMaterial,
        open_repository: Callable[[Material], Repository],
        marks: UpkeepMarks,
        records: Records,
        *,
        schedule: Schedule,
        clock: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._material = material
        self._open_repository = open_repository
        self._marks = marks
        self._records = records
        self._schedule = schedule
        self._clock = clock

    def to_collect(self) -> list[RepositoryName]:
        """Repositories whose garbage is to be collected, the longest overdue first."""
        due = self._now() - self._schedule.collect.total_seconds()
        marks = ((self._marks.load(name).collected_at, name) for name in self._stored())
        return [name for at, name in sorted(marks) if at <= due]

    def to_check(self) -> list[RepositoryName]:
        """Repositories of which more objects should have been read by now, those with faults first."""
        marks = [(self._marks.load(name), name) for name in self._stored()]
        due = [(not mark.faults, mark.check_begun, name) for mark, name in marks if self._is_behind(mark)]
        return [name for *_, name in sorted(due)]

    def collect_garbage(
        self, name: RepositoryName, *, dry_run: bool = False, over: Callable[[], bool] | None = None
    ) -> Collection:
        """Remove what no kept revision refers to, never while something is committed.

        Args:
            name: the repository.
            dry_run: change nothing.
            over: whether time is over; None for to the end.

        Raises:
            NotFound: there is no such repository, or an object that must be there is not.
            InvalidInput: it is not made yet, or dropped.
            Corrupt: a catalog is damaged. Nothing was removed.
            Busy: another repository is being looked after.
            ServiceUnavailable: its storage does not answer.
        """
        material = self._keys(name)
        turns = None if over is None or dry_run else Turns(HOLD_SECONDS, lambda: not over())
        with self._marks.turn(), cvmfs_errors(f"collecting garbage of {name}"):
            repository = self._open_repository(material)
            done = repository.collect_garbage(self._schedule.retention, dry_run=dry_run, turns=turns)
        if done.complete and not dry_run:
            self._marks.save(name, replace(self._marks.load(name), collected_at=self._now()))
        return done

    def check(self, name: RepositoryName, over: Callable[[], bool], *, after: str = "") -> Checked:
        """Read the objects of a repository from a hash on, whatever was read when; errors as for ``collect_garbage``.

        Args:
            name: the repository.
            over: whether time is over.
            after: goes on behind this hash.
        """
        if not _HASH.fullmatch(after):
            msg = "a check goes on behind a hash in hexadecimal"
            raise InvalidInput(msg)
        return self._check(name, over, after, "")[0]

    def check_share(self, name: RepositoryName, over: Callable[[], bool]) -> Checked:
        """Read the objects that are due by now, and look at known faults again; errors as for ``collect_garbage``."""
        mark = self._marks.load(name)
        cycle, now = self._schedule.cycle.total_seconds(), self._now()
        if not mark.check_begun or now - mark.check_begun >= 2 * cycle:
            mark = replace(mark, check_begun=now, check_after="")
        share = (now - mark.check_begun) / cycle
        until = "" if share >= 1 else f"{int(share * _HASH_SPACE):08x}"
        done, mark = self._check(name, over, mark.check_after, until, mark)
        if done.after:
            mark = replace(mark, check_after=done.after)
        elif until:
            mark = replace(mark, check_after=max(mark.check_after, until))
        else:
            mark = replace(mark, check_begun=mark.check_begun + cycle, check_after="")
        self._marks.save(name, replace(mark, checked_at=now))
        return done

    def _check(
        self, name: RepositoryName, over: Callable[[], bool], after: str, until: str, mark: UpkeepMark | None = None
    ) -> tuple[Checked, UpkeepMark]:
        material = self._keys(name)
        mark = mark or self._marks.load(name)
        with self._marks.turn(), cvmfs_errors(f"checking {name}"):
            head = self._open_repository(material).head
            again = [_named(fault.object) for fault in mark.faults if fault.object]
            paths: dict[Named, bytes] = {}
            keys: tuple[str, ...] = ()
            with head.scratch() as work:
                try:
                    manifest = head.manifest()
                except StoreUnavailable:
                    raise
                except CvmfsError as exc:
                    found = Sounding(0, 0, tuple(again), (f"the manifest: {exc}",), "")
                else:
                    found = sound(
                        head.store, manifest, _sub(work, "objects"), after=after, until=until, over=over, again=again
                    )
                    for item, path in paths_of(head.store, manifest, found.bad, work):
                        paths.setdefault(item, path)
                    keys = _keys_of(head.store, manifest, paths.values(), work) if paths else ()
        faults = self._faults(mark, found, paths)
        if faults != mark.faults:
            mark, before = replace(mark, faults=faults), mark
            self._marks.save(name, mark)
        else:
            before = mark
        self._tell(name, faults)
        bad = {fault.object for fault in faults}
        repaired = tuple(fault for fault in before.faults if fault.object and fault.object not in bad)
        wanted = () if is_closed(known(self._registry, name)) else keys
        return Checked(found.objects, found.bytes, faults, repaired, wanted, found.after), mark

    def _faults(self, mark: UpkeepMark, found: Sounding, paths: Mapping[Named, bytes]) -> tuple[Fault, ...]:
        since, now = {(fault.object, fault.message): fault.since for fault in mark.faults}, self._now()
        named = [(_text(item), paths.get(item, b""), _BAD) for item in found.bad]
        named += [("", b"", message) for message in found.unread]
        return tuple(
            Fault(text, path.decode(errors="backslashreplace"), message, since.get((text, message), now))
            for text, path, message in named[:MAX_FAULTS]
        )

    def _tell(self, name: RepositoryName, faults: tuple[Fault, ...]) -> None:
        try:
            self._records.set_faults(name, faults)
        except SoftmanError as exc:  # the mark has them, and the next turn tells again
            _log.warning("faults are not recorded", repository=str(name), error=str(exc))

    def _is_behind(self, mark: UpkeepMark) -> bool:
        """Whether a good part of the cycle is to be read by now, or faults are to be looked at again."""
        if not mark.check_begun or (mark.faults and self._now() - mark.checked_at >= LOOK_AGAIN_SECONDS):
            return True
        share = (self._now() - mark.check_begun) / self._schedule.cycle.total_seconds()
        done = int((mark.check_after or "0")[:8].ljust(8, "0"), 16) / _HASH_SPACE
        return min(share, 1.0) - done >= _PORTION or share >= 1

    def _stored(self) -> list[RepositoryName]:
        records = (self._registry.get(name) for name in self._registry.names())
        return [record.repository for record in records if record is not None and is_stored(record)]

    def _keys(self, name: RepositoryName) -> Material:
        record = known(self._registry, name)
        if not is_stored(record):
            msg = f"nothing is stored of {name}, which is {record.state}"
            raise InvalidInput(msg)
        return self._material.get(name, fresh=True)

    def _now(self) -> float:
        return self._clock().timestamp()


def is_stored(record: RegistryRecord) -> bool:
    """Whether a repository was made, and not dropped since."""
    dropped = record.retirement is not None and record.retirement.dropped
    return record.state is not State.REQUESTED and not dropped


def _keys_of(store: ReadableStore, manifest: Manifest, paths: Iterable[bytes], work: Path) -> tuple[str, ...]:
    """The keys of the bucket that these files came from: their own, or that of the archive that they were in."""
    keys = set()
    with Snapshot(store, manifest, work_dir=work) as snapshot:
        for path in paths:
            for place in _upwards(path):
                entry = snapshot.lookup(place)
                if entry is not None and SOURCE_XATTR in entry.xattrs:
                    keys.add(source_key(entry))
                    break
    return tuple(sorted(keys))


def _upwards(path: bytes) -> Iterator[bytes]:
    while path:
        yield path
        path = path.rpartition(b"/")[0]


def _named(text: str) -> Named:
    letter = text[-1] if text[-1].isupper() else ""
    return ContentHash.parse(text.removesuffix(letter)), ObjectKind(letter)


def _text(item: Named) -> str:
    return f"{item[0]}{item[1].value}"


def _sub(work: Path, name: str) -> Path:
    directory = work / name
    directory.mkdir()
    return directory
