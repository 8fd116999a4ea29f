"""Tags: how they move with every revision, and how an administrator adds, moves and removes them.

Source: ``cvmfs/swissknife_history.cc`` and ``sync_mediator.cc`` of CernVM-FS 2.12 for the tags that every publication
moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

from softman.cvmfs.errors import ObjectMissing, RevisionMissing, TagError
from softman.cvmfs.format.history import RESERVED_TAGS, TRUNK, TRUNK_PREVIOUS, History, Tag, is_tag_name
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.head import Head
from softman.cvmfs.objectset import ObjectSets
from softman.cvmfs.revisions import Revision, Revisions
from softman.cvmfs.trees import CatalogTrees

TRUNK_TEXT: Final = "current HEAD"
TRUNK_PREVIOUS_TEXT: Final = "default undo target"
"""The descriptions that the stock tools give, which some of their users look for."""
_GENERIC = "generic"


@dataclass(frozen=True, slots=True)
class Tagging:
    """What a new revision is to be called besides ``trunk``.

    Attributes:
        name: a tag, or None.
        description: of that tag.
        generic: without ``name``, give it a tag after the time, as ``CVMFS_AUTO_TAG`` does.
        generic_age: remove tags of that kind when they are older than this; None keeps them.

    Raises:
        TagError: ``name`` cannot be that of a tag.
    """

    name: str | None = None
    description: str = ""
    generic: bool = False
    generic_age: timedelta | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            check_tag_name(self.name)


def check_tag_name(name: str) -> str:
    """Give ``name`` back when a user's tag can have it.

    Raises:
        TagError: it is reserved, empty, too long, or has other characters than ``a-zA-Z0-9-_./:``.
    """
    if name in RESERVED_TAGS:
        raise TagError(f"the tag {name!r} moves by itself and cannot be set")
    if not is_tag_name(name):
        raise TagError(f"{name[:80]!r} cannot be a tag: 1 to 255 letters, digits and -_./: are possible")
    return name


def advance(history: History, manifest: Manifest, tagging: Tagging) -> History:
    """The tags after the publication of ``manifest``.

    Raises:
        TagError: there is a tag of the name already.
    """
    head = Tag(TRUNK, manifest.root_hash, manifest.revision, manifest.published_at, manifest.root_size, TRUNK_TEXT)
    replaced = history.tag(TRUNK)
    moved = history.without(TRUNK, TRUNK_PREVIOUS)
    if replaced is not None:
        moved = moved.with_tag(replace(replaced, name=TRUNK_PREVIOUS, description=TRUNK_PREVIOUS_TEXT))
    if tagging.generic_age is not None:
        moved = _expire(moved, manifest.published_at - int(tagging.generic_age.total_seconds()))
    name = tagging.name
    if name is not None and history.tag(name) is not None:
        raise TagError(f"there is a tag {name!r} already; move or remove it first")
    if name is None and tagging.generic:
        name = _generic_name(moved, manifest.published_at)
    if name is not None:
        moved = moved.with_tag(replace(head, name=name, description=tagging.description))
    return moved.with_tag(head)


def add_tag(head: Head, name: str, *, description: str, revision: int | None, move: bool) -> Tag:
    """See ``Repository.add_tag``."""
    check_tag_name(name)
    with head.locked() as current:
        revisions = Revisions(head.store, current, work_dir=head.work_dir)
        old = revisions.history.tag(name)
        if old is not None and not move:
            raise TagError(f"there is a tag {name!r} already, on revision {old.revision}; move it, or remove it first")
        number = current.revision if revision is None else revision
        if old is not None and (old.revision, old.description) == (number, description):
            return old
        target = revisions.numbered(number)
        require_whole(head, current, revisions.history, target)
        tag = target.tag(name, description)
        replace_history(head, current, _with_trunk(revisions.history, current).with_tag(tag))
        return tag


def remove_tags(head: Head, names: Sequence[str]) -> Manifest:
    """See ``Repository.remove_tags``."""
    with head.locked() as current:
        history = Revisions(head.store, current, work_dir=head.work_dir).history
        for name in names:
            check_tag_name(name)
            if history.tag(name) is None:
                raise TagError(f"{head.name} has no tag {name!r}")
        return replace_history(head, current, history.without(*names)) if names else current


def replace_history(head: Head, current: Manifest, history: History) -> Manifest:
    """Publish the revision in force once more, with other tags."""
    # The stock check refuses a tag database without tags, which no history at all is not.
    content = head.put_history(history, current) if history.tags else None
    return head.publish(replace(current, history=content, published_at=head.not_before(current)))


def require_whole(head: Head, current: Manifest, history: History, target: Revision) -> None:
    """Make sure that ``target`` can be kept for ever: a collection that was interrupted may have begun to take it.

    What is in force or has a tag was never touched. For others, every object that the revision in force does not
    share is looked for.

    Raises:
        RevisionMissing: objects are gone.
    """
    if target.root_hash == current.root_hash or any(tag.root_hash == target.root_hash for tag in history.tags):
        return
    with head.scratch() as work, ObjectSets(work) as sets:
        trees = CatalogTrees(head.store, work)
        for catalog in trees.walk(current.root_hash, skip=sets.marked.holds_catalog):
            sets.marked.add_catalog(catalog)
        try:
            for catalog in trees.walk(target.root_hash, skip=sets.marked.holds_catalog):
                sets.condemned.add_catalog(catalog, unless=sets.marked)
        except ObjectMissing as exc:
            raise RevisionMissing(f"revision {target.number} was collected in part: {exc}") from exc
        for content, kind in sets.condemned:
            name = content.object_path(kind)
            if not head.store.exists(name):
                raise RevisionMissing(f"revision {target.number} was collected in part: {name} is gone")


def _with_trunk(history: History, current: Manifest) -> History:
    """A repository that was never published to since it was made has no tags: give it the one it should have."""
    if history.tag(TRUNK) is not None:
        return history
    return history.with_tag(
        Tag(TRUNK, current.root_hash, current.revision, current.published_at, current.root_size, TRUNK_TEXT)
    )


def _generic_name(history: History, when: int) -> str:
    stamp = f"{datetime.fromtimestamp(when, UTC):%Y-%m-%dT%H:%M:%SZ}"
    names = (f"{_GENERIC}-{stamp}" if not number else f"{_GENERIC}_{number}-{stamp}" for number in count())
    return next(name for name in names if history.tag(name) is None)


def _expire(history: History, before: int) -> History:
    old = (t.name for t in history.tags if t.name.startswith((f"{_GENERIC}-", f"{_GENERIC}_")) and t.timestamp < before)
    return history.without(*old)
