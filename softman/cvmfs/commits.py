"""Making a candidate the next revision. The caller holds the lock, and gives the manifest in force."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from softman.cvmfs.areas import StagingArea
from softman.cvmfs.direct import DirectArea
from softman.cvmfs.editing import Committed
from softman.cvmfs.errors import (
    CandidateIncomplete,
    CandidateRejected,
    HashMismatch,
    ObjectMissing,
    PathError,
    RevisionConflict,
)
from softman.cvmfs.fetch import is_intact
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.head import Head
from softman.cvmfs.revisions import read_history
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.staging import Staging, check_transaction_id, staged_name
from softman.cvmfs.store.base import DirectStore, StagedStore
from softman.cvmfs.tags import Tagging, advance
from softman.cvmfs.transaction import Balance, Candidate

if TYPE_CHECKING:
    from softman.cvmfs.inspector import Limits

MAX_ATTEMPTS: Final = 10
"""How often a transaction is committed before it gives up because others are always faster."""


def check_base(current: Manifest, revision: int, root_hash: ContentHash) -> None:
    """Accept a candidate that was built on the revision in force.

    Raises:
        RevisionConflict: it was built on another one.
    """
    if (current.revision, current.root_hash) != (revision, root_hash):
        raise RevisionConflict(
            f"the candidate is based on revision {revision} ({root_hash}), "
            f"but revision {current.revision} ({current.root_hash}) is in force",
            current.revision,
            str(current.root_hash),
        )


@contextmanager
def own_area(head: Head, store: StagedStore) -> Iterator[tuple[Manifest, StagingArea]]:
    """The manifest in force, and an area for a transaction of whoever holds the keys; it is discarded in the end."""
    area: StagingArea
    if isinstance(store, DirectStore):
        with head.locked() as base:
            area = store.begin_direct()
    else:
        base, area = head.manifest(), store.new_area()
    try:
        yield base, area
    finally:
        area.discard()


def commit_staged(
    head: Head,
    store: StagedStore,
    current: Manifest,
    candidate: ContentHash,
    *,
    transaction: str,
    limits: "Limits | None",
    tagging: Tagging,
) -> Manifest:
    """Inspect what a publisher staged, promote it, and sign it. Errors are those of ``Repository.commit``."""
    from softman.cvmfs import inspector  # noqa: PLC0415 - whoever commits directly does without

    if candidate.algorithm is not current.root_hash.algorithm:
        raise CandidateRejected(f"{candidate} is not hashed like the rest of the repository")
    before = read_history(store, current, work_dir=head.work_dir)
    following = replace(
        current, root_hash=candidate, root_size=0, revision=current.revision + 1, published_at=head.not_before(current)
    )
    advance(before, following, tagging)  # a tag that is taken is found before anything is stored
    try:
        check_transaction_id(transaction)
        with head.scratch() as work:
            accepted = limits or inspector.Limits()
            report = inspector.inspect_staged(
                store, current, candidate, transaction, accepted, now=head.seconds(), work=work
            )
        _promote(store, transaction, [*report.objects, (candidate, ObjectKind.CATALOG)])
    except (HashMismatch, PathError) as exc:
        raise CandidateRejected(str(exc)) from exc
    following = replace(following, root_size=report.root_size, certificate=head.put_certificate(candidate.algorithm))
    history = head.put_history(advance(before, following, tagging), current)
    return head.publish(replace(following, history=history))


def commit_direct(
    head: Head,
    current: Manifest,
    candidate: Candidate,
    area: DirectArea,
    tagging: Tagging,
    *,
    grafted: Iterable[tuple[ContentHash, ObjectKind]] = (),
) -> Manifest:
    """Sign what a transaction of our own wrote straight into the storage.

    Args:
        head: of the repository.
        current: the manifest in force.
        candidate: its catalogs are in the storage already, like all that they refer to.
        area: of the transaction.
        tagging: what to call the revision.
        grafted: objects that the transaction did not see itself.

    Raises:
        RevisionConflict: the base is not the revision in force.
        CandidateIncomplete: an object that it counts on is not there (any more).
        TagError: the tag is there already.
        StoreUnavailable: the storage cannot be used now.
    """
    if current.root_hash == candidate.root_hash:
        return current
    check_base(current, candidate.base_revision, candidate.base_root_hash)
    algorithm = current.root_hash.algorithm
    following = replace(
        current,
        root_hash=candidate.root_hash,
        root_size=candidate.root_size,
        revision=current.revision + 1,
        published_at=head.not_before(current),
    )
    history = advance(read_history(head.store, current, work_dir=head.work_dir), following, tagging)
    area.confirm(algorithm)
    for content, kind in grafted:
        if not head.store.is_stored(content, kind):
            raise CandidateIncomplete(f"{content.object_path(kind)}, which was grafted, is not stored")
    following = replace(following, certificate=head.put_certificate(algorithm))
    return head.publish(replace(following, history=head.put_history(history, current)))


def commit_own(
    head: Head,
    commit: Callable[..., Manifest],
    candidate: Candidate,
    area: StagingArea,
    *,
    grafted: Iterable[tuple[ContentHash, ObjectKind]],
    tagging: Tagging,
) -> Manifest:
    """Commit what whoever holds the keys made in an area of ``own_area``; takes the lock.

    ``commit`` is that of the repository, for areas that only stage.
    """
    if isinstance(area, DirectArea):
        with head.locked() as current:
            return commit_direct(head, current, candidate, area, tagging, grafted=grafted)
    return commit(
        candidate.root_hash,
        base_revision=candidate.base_revision,
        base_root_hash=candidate.base_root_hash,
        transaction=area.transaction,
        tagging=tagging,
    )


def commit_on_top(
    commit: Callable[[Candidate], Manifest],
    in_force: Callable[[], Manifest],
    candidate: Candidate,
    builder: Callable[[], Callable[[Manifest], Candidate | None]],
) -> Committed:
    """Commit, and as often as somebody else was faster, build on what they published and commit again.

    Args:
        commit: what to commit with; raises ``RevisionConflict``.
        in_force: the manifest in force.
        candidate: the first to try.
        builder: asked at the first conflict for what makes one on top of a manifest, or None when nothing is left to
            change; see ``rebase``.

    Raises:
        PathConflict: both changed the same path.
        RevisionConflict: others were faster every time.
    """
    build = None
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return Committed(commit(candidate), is_new=True)
        except RevisionConflict:
            current = in_force()
        build = build or builder()
        rebuilt = build(current)
        if rebuilt is None:
            return Committed(current, is_new=False)
        candidate = rebuilt
    return Committed(commit(candidate), is_new=True)


def rebuilder(
    store: StagedStore, before: Snapshot, candidate: Candidate, staging: Staging, head: Head, *, balance: Balance | None
) -> Callable[[Manifest], Candidate | None]:
    """A ``rebase.Rebuilder``, which is seldom needed."""
    from softman.cvmfs.rebase import Rebuilder  # noqa: PLC0415 - same

    return Rebuilder(store, before, candidate, staging, head.now, balance, head.work_dir)


def repair_staged(head: Head, store: StagedStore, current: Manifest, transaction: str, paths: Iterable[bytes]) -> int:
    """Replace objects that are damaged or missing by what a publisher staged, which is hashed before it is taken.

    Only objects of files in the revision in force count, and of those only the ones whose stored bytes are wrong.

    Args:
        head: of the repository.
        store: its storage.
        current: the manifest in force.
        transaction: in whose staging area the objects are.
        paths: of the files.

    Returns:
        How many objects were replaced.

    Raises:
        CandidateRejected: what was staged is not what it is named.
        StoreUnavailable: the storage cannot be used now.
    """
    check_transaction_id(transaction)
    damaged: dict[tuple[ContentHash, ObjectKind], None] = {}
    with Snapshot(store, current, work_dir=head.work_dir) as snapshot:
        for path in paths:
            with suppress(PathError):  # the file is gone, or another one by now
                for content, kind in snapshot.lookup(path).objects():
                    if _is_staged(store, transaction, content, kind) and not is_intact(store, content, kind):
                        damaged[content, kind] = None
    try:
        store.promote_staged(transaction, damaged)
    except (HashMismatch, ObjectMissing) as exc:
        raise CandidateRejected(str(exc)) from exc
    store.sync()
    return len(damaged)


def _is_staged(store: StagedStore, transaction: str, content: ContentHash, kind: ObjectKind) -> bool:
    try:
        with store.open_staged(transaction, staged_name(content, kind)):
            return True
    except ObjectMissing:
        return False


def _promote(store: StagedStore, transaction: str, objects: Iterable[tuple[ContentHash, ObjectKind]]) -> None:
    try:
        store.promote_staged(transaction, objects)
    except ObjectMissing as exc:
        raise CandidateIncomplete(str(exc)) from exc
