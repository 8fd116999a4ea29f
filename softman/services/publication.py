"""Making one transaction show what was observed: who gets a path, what has to go for it, what becomes free.

Several keys may claim one path (``x``, ``x/``, ``x.rclonelink``, ``x.tar``): a folder wins, and of the others the key
that comes first in the order of S3. A claim is what is shown: a key that is refused for its content claims nothing. The
losers are reported, and looked at again when the path becomes free.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice

from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.staging import ChunkedContent
from softman.cvmfs.transaction import Transaction
from softman.model import MAX_REPAIRS, Refusal
from softman.services.allowance import Allowance, Share
from softman.services.archives.tree import StagedTree
from softman.services.mapping import (
    SOURCE_XATTR,
    UNMARKED,
    Rules,
    Target,
    is_publishers,
    is_unpacked,
    places,
    source_key,
)
from softman.services.metadata import mtime_of
from softman.services.observe import LinkText, Seen

_FOLDER_WINS = "a folder of this name exists too, and the folder wins"
_AUTO_MARKER = b"/.cvmfsautocatalog"
_MAX_KNOWN = 4096


@dataclass(slots=True)
class Tally:
    """What one slice did so far."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    bytes_read: int = 0
    refused: dict[str, Refusal] = field(default_factory=dict)
    looked_at: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    """Keys that could not be read now, and why; they stay as they are and pending."""
    held: Share = field(default_factory=Share)
    """What the repository holds with that, markers of its catalogs left out."""
    put_at: float = 0.0
    """When the first of the objects that are shown now was put, Unix time; 0 for none."""
    repairs: list[bytes] = field(default_factory=list)
    """Files that are as they should be, but whose stored content is damaged; the right one is staged."""

    @property
    def changes(self) -> int:
        """How many objects make the next revision differ."""
        return self.added + self.changed + self.removed

    @property
    def objects(self) -> int:
        """How many objects are done with."""
        return len(self.looked_at)

    def refuse(self, refusal: Refusal) -> None:
        """Note that a key is not published."""
        self.looked_at.add(refusal.key)
        self.refused[refusal.key] = refusal


class Publication:
    """Changes one transaction.

    Args:
        transaction: the next revision in the making.
        rules: the mapping.
        allowance: the quotas.
        tally: counts what happens.
        damaged: objects that are staged because what is stored of them is not right; for verifying.

    Attributes:
        freed: paths that nothing has now, with the key that left; the caller empties it.
        lost: keys that were refused because another one has their path, by path; the caller empties it.
    """

    def __init__(
        self,
        transaction: Transaction,
        rules: Rules,
        allowance: Allowance,
        tally: Tally,
        *,
        damaged: AbstractSet[tuple[ContentHash, ObjectKind]] = frozenset(),
    ) -> None:
        self.freed: list[tuple[bytes, str]] = []
        self.lost: list[tuple[bytes, str]] = []
        self._known: dict[bytes, Entry | None] = {}
        self._transaction = transaction
        self._rules = rules
        self._allowance = allowance
        self._tally = tally
        self._damaged = damaged

    def shown(self, key: str) -> Entry | None:
        """What is shown of ``key`` now, wherever that is."""
        return next((entry for path in places(key) if (entry := self._of(key, path)) is not None), None)

    def blocked(self, target: Target) -> Refusal | None:
        """Why ``target`` cannot have its path now: another key has it, and a better claim."""
        if target.is_directory:
            return None
        entry = self._lookup(target.path)
        if entry is None or self._is_inside_archive(entry):  # a key below makes a folder of the archive's place
            return None
        if entry.is_dir and not is_unpacked(entry):
            return None if self._is_left_over(entry) else Refusal(target.key, _FOLDER_WINS)
        owner = source_key(entry)
        if _before(owner, target.key):
            return Refusal(target.key, _lost_to(owner))
        return None

    def refuse_blocked(self, target: Target, refusal: Refusal) -> None:
        """Report a key that lost its path to another; where other rules had put it, it does not stay."""
        self.withdraw(target.key)
        self.lost.append((target.path, target.key))
        self._tally.refuse(refusal)

    def show(self, seen: Seen, *, verify: bool = False) -> None:
        """Show what was seen, unless another key has a better claim or it exceeds a quota."""
        target = seen.target
        refusal = self.blocked(target)
        if refusal is not None:
            self.refuse_blocked(target, refusal)
            return
        before = self.shown(target.key)
        if verify and before is not None and self._is_the_same(seen, before):
            self._tally.unchanged += 1
            self._repair(before)
            return
        more = Share(self._missing_parents(target.path))
        if isinstance(seen.content, StagedTree):
            more += Share(seen.content.entries, seen.content.bytes)
        refusal = self._allowance.settle(target.key, more)
        if refusal is not None:
            self._tally.refuse(refusal)
            return
        for path in places(target.key):
            if path != target.path:
                self._take_away(target.key, path)
        if before is not None and before.path == target.path and is_unpacked(before):
            self._allowance.removed(before, self._transaction)
        self._clear_way(target)
        self._put(seen)
        self._tally.bytes_read += seen.info.size
        self._tally.put_at = min(self._tally.put_at or seen.info.last_modified, seen.info.last_modified)
        if before is None:
            self._tally.added += 1
        else:
            self._tally.changed += 1

    def withdraw(self, key: str) -> None:
        """Show nothing of ``key`` any more."""
        gone = [self._take_away(key, path) for path in places(key)]
        self._tally.removed += any(gone)

    def withdraw_at(self, target: Target) -> None:
        """Show nothing of ``target`` where it is."""
        self._tally.removed += self._take_away(target.key, target.path)

    def unmark(self, path: bytes) -> None:
        """Remove a catalog marker of ours, unless balancing put it there."""
        entry = self._lookup(path)
        auto = path.rpartition(b"/")[0] + _AUTO_MARKER
        if entry is not None and SOURCE_XATTR not in entry.xattrs and self._lookup(auto) is None:
            self._transaction.remove(path)
            self._known.clear()
            self._tally.changed += 1

    def _lookup(self, path: bytes) -> Entry | None:
        """What is at ``path``; asked several times for each object, so it is remembered. Link counts may be old."""
        try:
            return self._known[path]
        except KeyError:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            entry = self._known[path] = self._transaction.lookup(path)
            return entry

    def _forget(self, seen: Seen) -> None:
        """Something is put at its path, and the folders above it are made."""
        path = seen.target.path
        before = self._known.pop(path, None)
        if isinstance(seen.content, StagedTree) or (before is not None and before.is_dir):
            self._known.clear()
        for above in (path[:end] for end in slashes(path)):
            if self._known.get(above) is None:
                self._known.pop(above, None)

    def _of(self, key: str, path: bytes) -> Entry | None:
        """The entry at ``path`` if it is shown of ``key``."""
        entry = self._lookup(path)
        if entry is None or source_key(entry) != key or is_publishers(entry) or self._is_inside_archive(entry):
            return None
        return entry

    def _is_inside_archive(self, entry: Entry) -> bool:
        """Members of archives have no mark, so they look like entries that somebody made by hand."""
        return SOURCE_XATTR not in entry.xattrs and any(
            is_unpacked(above) for above in self._ancestors(entry.path) if above is not None
        )

    def _ancestors(self, path: bytes) -> Iterator[Entry | None]:
        """What is at the directories above ``path``, the outermost first."""
        return (self._lookup(path[:end]) for end in slashes(path))

    def _missing_parents(self, path: bytes) -> int:
        count = 0
        while path := path.rpartition(b"/")[0]:
            if self._lookup(path) is not None:
                break
            count += 1
        return count

    def _clear_way(self, target: Target) -> None:
        """What is no folder and stands where one must be loses its place; so does the owner of the path itself."""
        path = target.path
        for entry in self._ancestors(path):
            if entry is None:
                return
            if not entry.is_dir or is_unpacked(entry):
                self._evict(entry, Refusal(source_key(entry), _FOLDER_WINS))
                return
        entry = self._lookup(path)
        if entry is None or source_key(entry) == target.key:
            return
        if target.is_directory:
            if not entry.is_dir or is_unpacked(entry):
                self._evict(entry, Refusal(source_key(entry), _FOLDER_WINS))
        else:  # a folder that is left here is a left-over
            owner = source_key(entry)
            self._evict(entry, None if owner.endswith("/") else Refusal(owner, _lost_to(target.key)))

    def _evict(self, entry: Entry, refusal: Refusal | None) -> None:
        self._remove(entry)
        if refusal is not None:
            self.lost.append((entry.path, refusal.key))
            self._tally.refuse(refusal)

    def _put(self, seen: Seen) -> None:
        path, content, transaction = seen.target.path, seen.content, self._transaction
        seconds, nanoseconds = mtime_of(seen.info)
        mark = {SOURCE_XATTR: self._rules.mark(seen.target, seen.info)}
        self._forget(seen)
        if content is None:
            transaction.add_directory(path, mode=seen.mode, mtime=seconds, mtime_ns=nanoseconds, xattrs=mark)
        elif isinstance(content, StagedTree):
            content.apply(transaction, path, mtime=seconds, mtime_ns=nanoseconds, xattrs=mark)
        elif isinstance(content, LinkText):
            transaction.add_symlink(path, content.target, mtime=seconds, mtime_ns=nanoseconds, xattrs=mark)
        else:
            transaction.add_file(path, content, mode=seen.mode, mtime=seconds, mtime_ns=nanoseconds, xattrs=mark)
            marker, auto = path.rpartition(b"/")[2], path.rpartition(b"/")[0] + _AUTO_MARKER
            if marker in UNMARKED and self._lookup(auto) is not None:
                self._known.clear()
                transaction.remove(auto)  # the catalog is the owner's now, and is not merged any more

    def _is_the_same(self, seen: Seen, before: Entry) -> bool:
        """Whether the content that was read is the content that is shown, and all else is, too."""
        if not self._rules.is_current(before, seen.target, seen.info):
            return False
        content = seen.content
        if content is None:
            return True
        if isinstance(content, LinkText):
            return before.symlink == content.target
        if isinstance(content, StagedTree):
            return content.is_shown(self._transaction, before.path)
        if isinstance(content, ChunkedContent):
            return before.chunks == content.chunks
        return before.hash == content.hash

    def _repair(self, entry: Entry) -> None:
        """Note which files are damaged of those at ``entry``, as far as one commit request can name them."""
        entries = self._transaction.walk(entry.path) if self._damaged and is_unpacked(entry) else [entry]
        damaged = (each.path for each in entries if not self._damaged.isdisjoint(each.objects()))
        self._tally.repairs.extend(islice(damaged, MAX_REPAIRS - len(self._tally.repairs)))

    def _take_away(self, key: str, path: bytes) -> bool:
        """Show ``key`` no more at ``path``; whether it was shown there."""
        entry = self._of(key, path)
        if entry is None:
            return False
        if entry.is_dir and not is_unpacked(entry) and not self._is_bare(path):
            if SOURCE_XATTR in entry.xattrs:
                kept = {name: value for name, value in entry.xattrs.items() if name != SOURCE_XATTR}
                self._transaction.set_xattrs(path, kept)
                self._known.clear()
                self._tally.changed += 1
            return False
        self._remove(entry)
        self.freed.append((path, key))
        self._prune(path)
        return True

    def _remove(self, entry: Entry) -> None:
        self._allowance.removed(entry, self._transaction)
        self._transaction.remove(entry.path)
        self._known.clear()

    def _prune(self, path: bytes) -> None:
        """Remove the folders above ``path`` that stand for nothing any more."""
        while path := path.rpartition(b"/")[0]:
            entry = self._lookup(path)
            if entry is None:
                continue
            if SOURCE_XATTR in entry.xattrs or not entry.is_dir or is_publishers(entry) or not self._is_bare(path):
                return
            self._remove(entry)
            self.freed.append((path, source_key(entry)))

    def _is_left_over(self, entry: Entry) -> bool:
        return SOURCE_XATTR not in entry.xattrs and self._is_bare(entry.path)

    def _is_bare(self, path: bytes) -> bool:
        """Whether a directory has nothing but markers of our own."""
        return all(
            entry.name in UNMARKED and SOURCE_XATTR not in entry.xattrs for entry in self._transaction.listdir(path)
        )


def slashes(path: bytes) -> Iterator[int]:
    """Where each directory above ``path`` ends, the outermost first."""
    position = path.find(b"/", 1)
    while position != -1:
        yield position
        position = path.find(b"/", position + 1)


def _before(key: str, other: str) -> bool:
    return key.encode(errors="surrogateescape") < other.encode(errors="surrogateescape")


def _lost_to(key: str) -> str:
    return f"{key} has the same place in the repository, and comes first"
