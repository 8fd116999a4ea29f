"""Two transactions from one base, both to be published: what the second changed, applied to what the first made.

Objects stay as they are: only catalogs are written again. The two must not have touched the same paths. What counts as
the same is narrow, as nobody is asked: an entry that the second changed or removed must still be as its base had it,
and where it added one nothing else may be by now; its directory must be there. Directories have one exception: as
their times follow from what is done in them, the later time is taken where nothing else differs.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from softman.cvmfs.diff import Added, Aspect, Difference, Removed, aspects, differences
from softman.cvmfs.dirtab import DIRTAB_PATH
from softman.cvmfs.errors import ObjectMissing, PathConflict, PathError
from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.paths import AUTO_MARKER, MARKER
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.base import Readable, ReadableStore, StagedStore, read_all
from softman.cvmfs.transaction import Balance, Candidate, Transaction

_STRUCTURE = (Flag.NESTED_MOUNTPOINT | Flag.NESTED_ROOT).value
_MARKERS = frozenset({MARKER, AUTO_MARKER})
_TIME = frozenset({Aspect.MTIME})
_CHANGED, _REMOVED = "was changed by a revision published meanwhile", "was removed by a revision published meanwhile"


def rebase(
    before: Snapshot,
    after: Snapshot,
    current: Snapshot,
    staging: Staging,
    *,
    now: Callable[[], datetime],
    balance: Balance | None = None,
    work_dir: Path | None = None,
) -> Candidate | None:
    """Build on ``current`` what a transaction built on ``before``.

    Args:
        before: the revision that the transaction began with.
        after: its candidate.
        current: the revision now in force.
        staging: the transaction's, where the objects are; the new catalogs go there, too.
        now: the clock.
        balance: as for ``Transaction``.
        work_dir: for scratch files; None takes the system's directory.

    Returns:
        The candidate, or None when ``current`` has all the changes already.

    Raises:
        PathConflict: both changed the same path; the error names it.
        StoreUnavailable: the staging area cannot be written now.
        CvmfsError: a catalog is missing or damaged.
    """
    with Transaction(current, staging, now=now, work_dir=work_dir, balance=balance) as transaction:
        replay(differences(before, after), after, transaction)
        return transaction.seal()


def replay(changes: Iterable[Difference], after: Snapshot, transaction: Transaction) -> None:
    """Make the same changes once more, in a transaction on another base.

    Args:
        changes: in the order of ``differences``.
        after: the revision that they led to.
        transaction: on another base.

    Raises:
        PathConflict: a change does not fit to that base. The transaction is of no use then.
    """
    _Replay(after, transaction).run(changes)


class WithStaged(ReadableStore):
    """A repository as its readers see it, and what one transaction staged beside it.

    Args:
        store: the repository's.
        transaction: whose objects are to be seen, too.
    """

    def __init__(self, store: StagedStore, transaction: str) -> None:
        self._store = store
        self._transaction = transaction

    @contextmanager
    def open(self, name: str) -> Iterator[Readable]:
        """See ``ReadableStore.open``."""
        with ExitStack() as stack:
            try:
                staged = name.removeprefix("data/").replace("/", "")
                file = stack.enter_context(self._store.open_staged(self._transaction, staged))
            except ObjectMissing:
                file = stack.enter_context(self._store.open(name))
            yield file

    def get(self, name: str, *, max_size: int) -> bytes:
        """See ``ReadableStore.get``."""
        with self.open(name) as file:
            return read_all(file, name, max_size=max_size)

    def exists(self, name: str) -> bool:
        """See ``ReadableStore.exists``."""
        try:
            with self.open(name):
                return True
        except ObjectMissing:
            return False


@dataclass(frozen=True, slots=True)
class Rebuilder:
    """``rebase`` for whatever revision is in force, in the terms of ``commit_on_top``."""

    store: StagedStore
    before: Snapshot
    candidate: Candidate
    staging: Staging
    now: Callable[[], datetime]
    balance: Balance | None = None
    work_dir: Path | None = None

    def __call__(self, current: Manifest) -> Candidate | None:
        """The candidate, on top of ``current``."""
        made = replace(self.before.manifest, root_hash=self.candidate.root_hash, root_size=self.candidate.root_size)
        seen = WithStaged(self.store, self.staging.transaction)
        with (
            Snapshot(seen, made, work_dir=self.work_dir) as after,
            Snapshot(self.store, current, work_dir=self.work_dir) as onto,
        ):
            return rebase(
                self.before, after, onto, self.staging, now=self.now, balance=self.balance, work_dir=self.work_dir
            )


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A directory that goes once all in it is gone, and what takes its place."""

    old: Entry
    new: Entry | None


class _Replay:
    def __init__(self, after: Snapshot, transaction: Transaction) -> None:
        self._after = after
        self._tx = transaction
        self._editor = transaction.editor
        self._leaving: list[_Leaving] = []
        self._relinked: list[Entry] = []
        self._listed: bytes | None = None
        self._groups: dict[int, list[bytes]] = {}

    def run(self, changes: Iterable[Difference]) -> None:
        for change in changes:
            self._leave(change.path)
            if isinstance(change, Removed):
                self._remove(change.old)
                continue
            self._check_parent(change.path)
            if isinstance(change, Added):
                self._add(change.new)
            else:
                self._change(change.old, change.new, frozenset(change.what))
        self._leave(None)
        for entry in self._relinked:
            self._relink(entry)

    def _check_parent(self, path: bytes) -> None:
        parent = path.rpartition(b"/")[0]
        try:
            node = self._editor.directory(parent)
        except PathError:
            _conflict(path, f"{_shown(parent)} is no directory any more since a revision published meanwhile")
        if node is None:
            _conflict(path, f"{_shown(parent)} {_REMOVED}")

    def _remove(self, old: Entry) -> None:
        there = self._editor.lookup(old.path)
        if there is None:
            return
        if not self._is_kept(old, there):
            _conflict(old.path, _CHANGED)
        if old.is_dir:
            self._leaving.append(_Leaving(old, None))
        else:
            self._tx.remove(old.path)

    def _add(self, new: Entry) -> None:
        there = self._editor.lookup(new.path)
        if there is None:
            self._put(new)
        elif new.is_dir and _difference(there, new) <= _TIME:
            self._put(_later(new, there))
        elif _difference(there, new) and not (new.name in _MARKERS and there.is_file):
            _conflict(new.path, "was added by a revision published meanwhile")

    def _change(self, old: Entry, new: Entry, what: frozenset[Aspect]) -> None:
        there = self._editor.lookup(new.path)
        if there is None:
            _conflict(new.path, _REMOVED)
        if what == {Aspect.LINKS}:
            self._relinked.append(new)
        elif not self._is_kept(old, there):
            if new.is_dir and old.is_dir and what <= _TIME:
                self._put(_later(there, new))
            elif _difference(there, new):
                _conflict(new.path, _CHANGED)
        elif old.is_dir and not new.is_dir:
            self._leaving.append(_Leaving(old, new))
        elif old.is_dir and there.mtime != old.mtime:
            self._put(_later(new, there))
        else:
            self._put(new)

    def _is_kept(self, old: Entry, there: Entry) -> bool:
        """Whether the other one left an entry as it was."""
        return _difference(old, there) <= (_TIME if old.is_dir else frozenset())

    def _leave(self, path: bytes | None) -> None:
        """Remove the directories in which there is nothing more to do."""
        while self._leaving:
            top = self._leaving[-1]
            if path is not None and path.startswith(top.old.path + b"/"):
                return
            self._leaving.pop()
            there = self._editor.lookup(top.old.path)
            if there is not None:
                if not self._editor.is_empty(top.old.path):
                    left = self._editor.inside(top.old.path).some_children(top.old.path, 1)[0]
                    _conflict(left.path, f"a revision published meanwhile put it into {_shown(top.old.path)}")
                self._editor.remove(there)
            if top.new is not None:
                self._put(top.new)

    def _put(self, new: Entry) -> None:
        if new.path == DIRTAB_PATH and new.is_file:
            self._tx.set_dirtab(b"".join(self._after.read_entry(new)), new.mtime)
            return
        target = self._fellow(new)
        if target is not None:
            self._editor.link(target, new.path)
            return
        flags, linkcount = new.flags & ~_STRUCTURE, 2 if new.is_dir else 1
        self._editor.put(replace(new, flags=flags, linkcount=linkcount, hardlink_group=0))

    def _fellow(self, new: Entry, besides: Iterable[bytes] = ()) -> bytes | None:
        """Another name of the same file that is there as it should be, if there is one."""
        for name in self._group(new):
            path = new.parent + b"/" + name
            if path == new.path or name in besides:
                continue
            there = self._editor.lookup(path)
            if there is not None and not _difference(there, new):
                return path
        return None

    def _group(self, new: Entry) -> list[bytes]:
        """The names of a file, which are all in one directory; those of the last directory are kept."""
        if not new.hardlink_group or new.is_dir:
            return []
        if self._listed != new.parent:
            self._listed, self._groups = new.parent, {}
            for entry in self._after.listdir(new.parent, hidden=True):
                if entry.hardlink_group and not entry.is_dir:
                    self._groups.setdefault(entry.hardlink_group, []).append(entry.name)
        return self._groups.get(new.hardlink_group, [])

    def _relink(self, new: Entry) -> None:
        """Make names that the transaction separated, or joined, without changing them, so here."""
        there = self._editor.lookup(new.path)
        if there is None or _difference(there, new):
            return
        wanted = set(self._group(new)) or {new.name}
        group = self._editor.home(new.path).group(there) if there.hardlink_group else [there]
        linked = {entry.name for entry in group}
        if any(self._is_in_after(new.parent + b"/" + name) for name in linked - wanted):
            self._editor.put(replace(there, hardlink_group=0, linkcount=1))
            linked = {new.name}
        fellow = self._fellow(new, besides=linked)
        if fellow is not None:
            self._editor.link(fellow, new.path)

    def _is_in_after(self, path: bytes) -> bool:
        try:
            self._after.lookup(path)
        except PathError:
            return False
        return True


def _difference(one: Entry, other: Entry) -> frozenset[Aspect]:
    """In what two entries differ, whatever other names they have."""
    return frozenset(aspects(one, other)) - {Aspect.LINKS}


def _later(entry: Entry, other: Entry) -> Entry:
    """``entry`` with the later of two times."""
    when = max((entry.mtime, entry.mtime_ns or 0, entry.mtime_ns), (other.mtime, other.mtime_ns or 0, other.mtime_ns))
    return replace(entry, mtime=when[0], mtime_ns=when[2])


def _conflict(path: bytes, what: str) -> NoReturn:
    raise PathConflict(f"{_shown(path)} is a conflict: {what}", path)


def _shown(path: bytes) -> str:
    return path.decode(errors="backslashreplace") or "/"
