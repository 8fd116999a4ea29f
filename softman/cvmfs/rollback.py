"""Going back: an earlier tree is published again, under a new, higher number, since clients never go down.

Source: ``cvmfs/swissknife_history.cc`` (``CommandRollbackTag``) of CernVM-FS 2.12, also for which tags go.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from softman.cvmfs.catalogs import MAX_CATALOG_SIZE, connect_read_only
from softman.cvmfs.errors import RevisionMissing
from softman.cvmfs.fetch import ObjectFetcher
from softman.cvmfs.format.catalog import CatalogReader, sqlite_errors
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.format.history import RESERVED_TAGS, TRUNK, TRUNK_PREVIOUS, History, Tag
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import compress
from softman.cvmfs.head import Head
from softman.cvmfs.revisions import Revision, Revisions
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.tags import TRUNK_TEXT, require_whole


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback did: the manifest in force now, the number it went back to, and the tags that went."""

    manifest: Manifest
    target: int
    removed_tags: tuple[Tag, ...]


def roll_back(head: Head, *, tag: str | None, revision: int | None) -> RolledBack:
    """See ``Repository.rollback`` and ``Repository.undo``; without ``tag`` and ``revision`` it is the latter."""
    with head.locked() as current:
        revisions = Revisions(head.store, current, work_dir=head.work_dir)
        target = _target(revisions, current, tag, revision)
        if target.root_hash == current.root_hash:
            raise RevisionMissing(f"revision {current.revision} is in force already; there is nothing to go back to")
        require_whole(head, current, revisions.history, target)
        root_hash, root_size = _republish(head, current, target.root_hash)
        following = replace(
            current,
            root_hash=root_hash,
            root_size=root_size,
            revision=current.revision + 1,
            published_at=head.not_before(current),
        )
        history, removed = _tags_after(revisions.history, target, following, tag)
        following = replace(following, history=head.put_history(history, current))
        return RolledBack(head.publish(following), target.number, removed)


def shows(head: Head, revision: int) -> bool:
    """See ``Repository.shows``."""
    from softman.cvmfs.diff import differences  # noqa: PLC0415 - a publish does without

    current = head.manifest()
    earlier = Revisions(head.store, current, work_dir=head.work_dir).numbered(revision).manifest(current)
    with (
        Snapshot(head.store, earlier, work_dir=head.work_dir) as old,
        Snapshot(head.store, current, work_dir=head.work_dir) as new,
    ):
        return next(differences(old, new), None) is None


def _target(revisions: Revisions, current: Manifest, tag: str | None, revision: int | None) -> Revision:
    if tag is not None:
        return revisions.tagged(tag)
    if revision is not None:
        return revisions.numbered(revision)
    if revisions.history.tag(TRUNK_PREVIOUS) is not None:
        return revisions.tagged(TRUNK_PREVIOUS)
    # The tag goes with a rollback, and the first publication of all has none: the chain knows all the same.
    before = revisions.load(current.root_hash, current.root_size).previous
    if before is None:
        raise RevisionMissing(f"revision {current.revision} is the first; there is nothing to go back to")
    return revisions.load(before)


def _republish(head: Head, current: Manifest, root_hash: ContentHash) -> tuple[ContentHash, int]:
    """Store the root catalog ``root_hash`` as the successor of the one in force."""
    with head.scratch() as work:
        database = work / "root.db"
        ObjectFetcher(head.store, work_dir=work).inflate_to(
            database, root_hash, ObjectKind.CATALOG, max_size=MAX_CATALOG_SIZE
        )
        _renumber(database, current, head.seconds())
        data = database.read_bytes()
    return head.put(compress(data), current.root_hash.algorithm, ObjectKind.CATALOG), len(data)


def _renumber(database: Path, current: Manifest, now: int) -> None:
    with closing(connect_read_only(database)) as connection:
        last_modified = CatalogReader(connection).properties.last_modified
    properties = {
        "revision": current.revision + 1,
        "last_modified": max(now, last_modified),
        "previous_revision": str(current.root_hash),
        "TTL": current.ttl,
    }
    with closing(sqlite3.connect(database, isolation_level=None)) as connection, sqlite_errors():
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA journal_mode=OFF")
        connection.executemany("INSERT OR REPLACE INTO properties (key, value) VALUES (?, ?)", properties.items())


def _tags_after(
    history: History, target: Revision, following: Manifest, name: str | None
) -> tuple[History, tuple[Tag, ...]]:
    """The tags after a rollback: newer ones go, the one that was named stands for the new revision."""
    newer = tuple(tag for tag in history.tags if not tag.branch and tag.revision > target.number)
    kept = history.without(TRUNK, TRUNK_PREVIOUS, *(tag.name for tag in newer))
    trunk = Tag(TRUNK, following.root_hash, following.revision, following.published_at, following.root_size, TRUNK_TEXT)
    named = None if name is None or name in RESERVED_TAGS else history.tag(name)
    if named is not None:
        kept = kept.with_tag(replace(trunk, name=named.name, description=named.description))
    return kept.with_tag(trunk), tuple(tag for tag in newer if tag.name not in RESERVED_TAGS)
