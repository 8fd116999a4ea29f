"""Stratum 0's side of a repository: making it, committing candidates, and everything an administrator does to it.

What is signed is read and replaced by ``head.Head``; the larger operations have modules of their own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softman.cvmfs.commits import (
    check_base,
    commit_on_top,
    commit_own,
    commit_staged,
    own_area,
    rebuilder,
    repair_staged,
)
from softman.cvmfs.direct import DirectArea
from softman.cvmfs.editing import Committed, Editing
from softman.cvmfs.errors import (
    FormatError,
    HashMismatch,
    ObjectMissing,
    SignatureInvalid,
    WrongRepository,
)
from softman.cvmfs.forgetting import forget_lost_tags
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm
from softman.cvmfs.format.history import History, Tag
from softman.cvmfs.format.keys import RepositoryKeys
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.names import check_repository_name
from softman.cvmfs.head import Head
from softman.cvmfs.ingest.workers import Workers
from softman.cvmfs.making import ensure_repository
from softman.cvmfs.revisions import read_history
from softman.cvmfs.rollback import RolledBack, roll_back, shows
from softman.cvmfs.rotation import rotate_master_key, rotate_signing_key
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.base import StagedStore, StoredFile
from softman.cvmfs.tags import Tagging, add_tag, remove_tags
from softman.cvmfs.transaction import Balance

if TYPE_CHECKING:
    from softman.cvmfs.gc import Collection, Retention, Turns
    from softman.cvmfs.inspector import Limits

__all__ = ["Collection", "Limits", "Repository", "Retention", "RolledBack", "StagedStore", "Tagging", "Turns"]

_LATER = {"Collection": "gc", "Limits": "inspector", "Retention": "gc", "Turns": "gc"}


def __getattr__(name: str) -> Any:
    if name in _LATER:  # what a publish does not need: its start counts
        return getattr(import_module(f"softman.cvmfs.{_LATER[name]}"), name)
    raise AttributeError(name)


class Repository:
    """One repository with the keys to sign it. Methods that change it hold the store's lock.

    Args:
        store: where its files are.
        name: the fully qualified name.
        keys: what signs it.
        now: the clock, giving times with a time zone.
        work_dir: for temporary files; None takes the system's directory.

    Raises:
        FormatError: ``name`` is no repository name.
    """

    def __init__(
        self,
        store: StagedStore,
        name: str,
        keys: RepositoryKeys,
        *,
        now: Callable[[], datetime],
        work_dir: Path | None = None,
    ) -> None:
        self.name = check_repository_name(name)
        self._store = store
        self._head = Head(store, name, keys, now=now, work_dir=work_dir)

    @property
    def head(self) -> Head:
        """What is signed, for ``rotation``."""
        return self._head

    def manifest(self) -> Manifest:
        """The manifest in force, its signature verified with our key.

        Raises:
            ObjectMissing: there is none: the repository was not made, or not to the end.
            SignatureInvalid: somebody else signed it.
            WrongRepository: it is that of another repository.
            FormatError: it is no manifest.
            HashMismatch: it was changed after it was signed.
        """
        return self._head.manifest()

    def create(
        self,
        *,
        ttl: int,
        whitelist_days: int,
        algorithm: HashAlgorithm = HashAlgorithm.SHA1,
        whitelist: bytes | None = None,
    ) -> Manifest:
        """Make the repository, empty, as revision 1; or complete what a crash left, or find that it is there.

        Args:
            ttl: seconds after which clients look for a new revision.
            whitelist_days: validity of the whitelist.
            algorithm: what its objects are to be named by; one that is there keeps its own.
            whitelist: one that was signed elsewhere, checked already, when the keys have no master key.

        Returns:
            The manifest in force; that of an existing repository with the same keys whatever its revision.

        Raises:
            RepositoryExists: there is one that was made with other keys.
            FormatError: the keys do not belong together.
        """
        self._head.keys.check()
        with self._store.lock(self.name):
            return ensure_repository(
                self._head, ttl=ttl, whitelist_days=whitelist_days, algorithm=algorithm, whitelist=whitelist
            )

    def commit(
        self,
        candidate: ContentHash,
        *,
        base_revision: int,
        base_root_hash: ContentHash,
        transaction: str,
        limits: "Limits | None" = None,
        tagging: Tagging | None = None,
        repairs: Iterable[bytes] = (),
    ) -> Manifest:
        """Check a candidate that a publisher staged, and make it the next revision.

        Args:
            candidate: its root catalog.
            base_revision: the revision that it was made from, and
            base_root_hash: its root catalog.
            transaction: whose staging area holds the catalog and the new objects.
            limits: what to accept.
            tagging: what to call the revision besides ``trunk``.
            repairs: files of the revision in force whose objects are staged because they are damaged in the storage.

        Returns:
            The manifest that is in force then; also when the candidate was in force already.

        Raises:
            RevisionConflict: the base is not in force any more; the error says which revision is.
            CandidateRejected: the candidate breaks a rule; the message says which, and where.
            CandidateIncomplete: it counts on an object that is neither staged nor stored.
            TagError: the tag is there already.
            StoreUnavailable: the storage or this machine cannot do it now.
        """
        with self._head.locked() as before:
            current = before
            if repairs:
                repair_staged(self._head, self._store, current, transaction, repairs)
            if current.root_hash != candidate:
                check_base(current, base_revision, base_root_hash)
                current = commit_staged(
                    self._head,
                    self._store,
                    current,
                    candidate,
                    transaction=transaction,
                    limits=limits,
                    tagging=tagging or Tagging(),
                )
            self._store.discard_staged(transaction)
            return current

    @contextmanager
    def transaction(
        self, *, tagging: Tagging | None = None, balance: Balance | None = None, workers: Workers | None = None
    ) -> Iterator[Editing]:
        """Change the repository as whoever holds its keys: published on leaving the block, discarded on an error.

        Where the storage is a directory, objects go to their final place at once, and nothing is inspected. Elsewhere
        they are staged first. Either way readers see all or nothing. An error of the block ends the transaction. When
        nothing differs, nothing is published. What others publish meanwhile on other paths stays; see ``rebase``.

        Args:
            tagging: what to call the revision besides ``trunk``.
            balance: limits between which catalogs are split and merged automatically; None leaves them alone.
            workers: make the objects of trees; threads when not given.

        Returns:
            The transaction, whose ``result`` is there after the block.

        Raises:
            PathConflict: a revision published meanwhile changed the same path. Nothing was published.
            RevisionConflict: others published meanwhile, again and again. Nothing was published.
            CandidateIncomplete: a collection took an object that it counted on; TagError: the tag is there already.
            CvmfsError: the repository cannot be read or written.
        """
        head = self._head
        with own_area(self._head, self._store) as (base, area):
            published = area.is_stored if isinstance(area, DirectArea) else self._store.is_stored
            staging = Staging(area, algorithm=base.root_hash.algorithm, published=published)
            with (
                Snapshot(self._store, base, work_dir=head.work_dir) as snapshot,
                Editing(
                    snapshot, staging, now=head.now, work_dir=head.work_dir, balance=balance, workers=workers
                ) as editing,
            ):
                yield editing
                candidate = editing.seal()
                editing.result = Committed(base, is_new=False)
                if candidate is not None:
                    editing.result = commit_on_top(
                        lambda built: commit_own(
                            head, self.commit, built, area, grafted=editing.grafted, tagging=tagging or Tagging()
                        ),
                        self.manifest,
                        candidate,
                        partial(rebuilder, self._store, snapshot, candidate, staging, head, balance=balance),
                    )

    def history(self) -> History:
        """The tags as of the revision in force; ``RepositoryReader.revisions`` has all that is kept."""
        return read_history(self._store, self.manifest(), work_dir=self._head.work_dir)

    def add_tag(self, name: str, *, description: str = "", revision: int | None = None, move: bool = False) -> Tag:
        """Give a kept revision a name. Garbage collection keeps it from then on.

        Args:
            name: of letters, digits and ``-_./:``.
            description: free text.
            revision: which one; None is the one in force.
            move: take the name away from another revision.

        Raises:
            TagError: the name cannot be that of a tag, or is taken.
            RevisionMissing: the revision is not kept any more, or not in full.
        """
        return add_tag(self._head, name, description=description, revision=revision, move=move)

    def remove_tags(self, names: Sequence[str]) -> Manifest:
        """Remove tags, all or none; what only they kept goes with the next garbage collection.

        Raises:
            TagError: one is not there, or moves by itself.
        """
        return remove_tags(self._head, names)

    def forget_lost_tags(self) -> Manifest:
        """Begin a new tag database, because the one in force cannot be read; see ``forgetting.forget_lost_tags``."""
        return forget_lost_tags(self._head)

    def rollback(self, *, tag: str | None = None, revision: int | None = None) -> RolledBack:
        """Publish an earlier tree again, as a new revision. Tags on revisions after it are removed.

        Args:
            tag: of the revision to go back to, or
            revision: its number.

        Raises:
            TagError: there is no such tag.
            RevisionMissing: there is no such revision, or not in full any more, or it is in force.
            ValueError: not exactly one of the two is given.
        """
        if (tag is None) == (revision is None):
            raise ValueError("either a tag or a revision must be given")
        return roll_back(self._head, tag=tag, revision=revision)

    def shows(self, revision: int) -> bool:
        """Whether the revision in force has the same tree as an earlier one.

        Args:
            revision: the number of the earlier one.

        Raises:
            RevisionMissing: there is no such revision any more.
        """
        return shows(self._head, revision)

    def undo(self) -> RolledBack:
        """Take the last revision back: ``rollback`` to ``trunk-previous``, or to the one that was replaced.

        Raises:
            RevisionMissing: there is none before, or not in full any more.
        """
        return roll_back(self._head, tag=None, revision=None)

    def collect_garbage(
        self,
        retention: "Retention | None" = None,
        *,
        dry_run: bool = False,
        unreferenced: bool = False,
        on_object: Callable[[StoredFile], object] | None = None,
        turns: "Turns | None" = None,
    ) -> "Collection":
        """Remove what no kept revision refers to. Readers notice nothing; commits wait only while objects are removed.

        The revision in force and tagged ones are always kept. Objects that were stored since the oldest running
        transaction began are left for the next time.

        Args:
            retention: which other revisions to keep.
            dry_run: change nothing.
            unreferenced: also remove objects that no revision of the reflog refers to, as crashes leave them. Lists
                the whole store.
            on_object: told of every object that goes, before it goes.
            turns: how long it may take, and keep others from committing in one go.

        Raises:
            CvmfsError: the repository is not marked as garbage collectable.
            ObjectMissing, VerificationError, FormatError: a catalog is missing or damaged. Nothing was removed.
        """
        from softman.cvmfs import gc  # noqa: PLC0415 - a publish does without

        return gc.collect(
            self._head,
            retention or gc.Retention(),
            running_since=self._store.oldest_staged,
            dry_run=dry_run,
            unreferenced=unreferenced,
            on_object=on_object,
            turns=turns,
        )

    def resign_whitelist(self, days: int, *, also: Iterable[bytes] = ()) -> datetime:
        """Replace the whitelist by a fresh one; nothing else changes.

        It allows our certificate, and the one that the manifest in force names, which ours may be about to replace.

        Args:
            days: of validity, from now.
            also: further certificates to allow, PEM: of a key to come, or of one that just went.

        Returns:
            When it expires.
        """
        with self._store.lock(self.name):
            return self._head.resign_whitelist(self.manifest(), days, also=also)

    def rotate_signing_key(self, keys: RepositoryKeys, *, days: int, keep_old: bool = False) -> Manifest:
        """Sign with another key and certificate from now on; repeat it with the same keys if it was interrupted.

        A proxy may give clients the old whitelist for some minutes more; they keep the revision they have until it
        does not. To spare them that, allow the new certificate with ``resign_whitelist`` some time before.

        Args:
            keys: with the master key as before; see ``format.keys.renew_signing_key``.
            days: validity of the whitelist.
            keep_old: go on allowing the old certificate, until the whitelist is signed again.

        Raises:
            FormatError: the keys do not belong together, or have another master key.
            SignatureInvalid: the repository is signed neither with the old nor with the new key.
        """
        with_new = self._head.with_keys(keys)
        manifest = rotate_signing_key(self._head, with_new, days=days, keep_old=keep_old)
        self._head = with_new
        return manifest

    def rotate_master_key(self, keys: RepositoryKeys, *, days: int) -> datetime:
        """Sign the whitelist with another master key from now on. Clients must have its public half by then.

        Args:
            keys: with the signing key as before; see ``format.keys.renew_master_key``.
            days: validity of the whitelist.

        Returns:
            When the whitelist expires.

        Raises:
            FormatError: the keys do not belong together, or have another signing key.
        """
        with_new = self._head.with_keys(keys)
        expires = rotate_master_key(self._head, with_new, days=days)
        self._head = with_new
        return expires

    def whitelist_expires(self) -> datetime:
        """When the whitelist expires; the beginning of time when there is none that clients would take."""
        try:
            return self._head.whitelist().expires
        except (ObjectMissing, FormatError, HashMismatch, SignatureInvalid, WrongRepository):
            return datetime.min.replace(tzinfo=UTC)

    def sweep_staging(self, older_than: timedelta) -> int:
        """Remove staging areas in which nothing happened for so long; how many there were."""
        with self._store.lock(self.name):
            return self._store.sweep_staged((self._head.now() - older_than).timestamp())
