"""Stratum 0's side of a repository: making it, committing candidates, signing.

Whatever happens in between, readers see the previous revision or the next one, whole: objects come first, then the
reflog, then one barrier, then the manifest. The reflog and the manifest's ``Y`` cannot be replaced together, so what a
crash leaves between the two is repaired by whoever opens the repository for a change next.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from softman.cvmfs.errors import (
    CandidateRejected,
    FormatError,
    HashMismatch,
    ObjectMissing,
    PathError,
    RepositoryExists,
    RevisionConflict,
    SignatureInvalid,
    TooLarge,
    WrongRepository,
)
from softman.cvmfs.format.catalog_writer import create_catalog, root_entry
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, ObjectKind, hash_bytes
from softman.cvmfs.format.keys import RepositoryKeys
from softman.cvmfs.format.manifest import MANIFEST_NAME, MAX_MANIFEST_SIZE, Manifest
from softman.cvmfs.format.names import check_repository_name
from softman.cvmfs.format.objects import compress, compress_stock
from softman.cvmfs.format.reflog import REFLOG_NAME, ReferenceKind, Reflog
from softman.cvmfs.format.signature import (
    fingerprint,
    load_certificate,
    sign_manifest,
    sign_whitelist,
    verify_manifest_signature,
    verify_whitelist_signature,
)
from softman.cvmfs.format.whitelist import MAX_WHITELIST_SIZE, WHITELIST_NAME, Whitelist
from softman.cvmfs.inspector import Limits, inspect_staged
from softman.cvmfs.staging import check_transaction_id
from softman.cvmfs.store.base import StagedStore
from softman.cvmfs.verify import check_manifest

__all__ = ["Limits", "Repository", "StagedStore"]

MASTER_REPLICA_NAME = ".cvmfs_master_replica"
"""Its existence allows stratum 1 servers to replicate the repository."""
_MASTER_REPLICA_TEXT = b"This file marks the repository as replicatable to stratum 1 servers\n"
_METAINFO = b"{}"
_MAX_REFLOG_SIZE = 512 * 1024 * 1024
_EXPIRED = datetime.min.replace(tzinfo=UTC)


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
        self._keys = keys
        self._now = now
        self._work_dir = work_dir

    def manifest(self) -> Manifest:
        """The manifest in force, its signature verified with our key.

        Raises:
            ObjectMissing: there is none: the repository was not made, or not to the end.
            SignatureInvalid: somebody else signed it.
            WrongRepository: it is that of another repository.
            FormatError: it is no manifest.
            HashMismatch: it was changed after it was signed.
        """
        read = Manifest.from_bytes(self._store.get(MANIFEST_NAME, max_size=MAX_MANIFEST_SIZE))
        check_manifest(read.manifest, self.name)
        verify_manifest_signature(read.signed, load_certificate(self._keys.certificate))
        return read.manifest

    def create(self, *, ttl: int, whitelist_days: int) -> Manifest:
        """Make the repository, empty, as revision 1; or complete what a crash left, or find that it is there.

        Args:
            ttl: seconds after which clients look for a new revision.
            whitelist_days: validity of the whitelist.

        Returns:
            The manifest in force; that of an existing repository with the same keys whatever its revision.

        Raises:
            RepositoryExists: there is one that was made with other keys.
            FormatError: the keys do not belong together.
        """
        self._keys.check()
        with self._store.lock(self.name):
            self._store.ensure_directories()
            try:
                current = self.manifest()
            except ObjectMissing:
                return self._make(ttl, whitelist_days)
            except (SignatureInvalid, WrongRepository) as exc:
                raise RepositoryExists(f"{self.name} is there already, made with other keys: {exc}") from exc
            try:
                self._whitelist()
            except (SignatureInvalid, WrongRepository) as exc:
                raise RepositoryExists(f"{self.name} is there already, made with other keys: {exc}") from exc
            except (ObjectMissing, FormatError, HashMismatch):  # lost or damaged, and ours to replace
                self._sign_whitelist(current.root_hash.algorithm, whitelist_days)
            return self._repaired(current)

    def commit(
        self,
        candidate: ContentHash,
        *,
        base_revision: int,
        base_root_hash: ContentHash,
        transaction: str,
        limits: Limits | None = None,
    ) -> Manifest:
        """Check a candidate that a publisher staged, and make it the next revision.

        Args:
            candidate: its root catalog.
            base_revision: the revision that it was made from.
            base_root_hash: the root catalog of that revision.
            transaction: whose staging area holds the catalog and the new objects.
            limits: what to accept.

        Returns:
            The manifest that is in force then; also when the candidate was in force already.

        Raises:
            RevisionConflict: the base is not the revision in force; the error says which is.
            CandidateRejected: the candidate breaks a rule; the message says which, and where.
            StoreUnavailable: the storage or this machine cannot do it now.
        """
        limits = limits or Limits()
        with self._store.lock(self.name):
            current = self._repaired(self.manifest())
            if current.root_hash != candidate:
                if (current.revision, current.root_hash) != (base_revision, base_root_hash):
                    raise RevisionConflict(
                        f"the candidate is based on revision {base_revision} ({base_root_hash}), "
                        f"but revision {current.revision} ({current.root_hash}) is in force",
                        current.revision,
                        str(current.root_hash),
                    )
                current = self._commit(current, candidate, transaction, limits)
            self._store.discard_staged(transaction)
            return current

    def resign_whitelist(self, days: int) -> datetime:
        """Replace the whitelist by a fresh one; nothing else changes.

        Args:
            days: of validity, from now.

        Returns:
            When it expires.
        """
        with self._store.lock(self.name):
            return self._sign_whitelist(self.manifest().root_hash.algorithm, days)

    def whitelist_expires(self) -> datetime:
        """When the whitelist expires; the beginning of time when there is none that clients would take."""
        try:
            return self._whitelist().expires
        except (ObjectMissing, FormatError, HashMismatch, SignatureInvalid, WrongRepository):
            return _EXPIRED

    def sweep_staging(self, older_than: timedelta) -> int:
        """Remove staging areas in which nothing happened for so long; how many there were."""
        with self._store.lock(self.name):
            return self._store.sweep_staged((self._now() - older_than).timestamp())

    def _make(self, ttl: int, whitelist_days: int) -> Manifest:
        now = self._seconds()
        algorithm = HashAlgorithm.SHA1
        with self._scratch() as work:
            path = work / "root.db"
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                catalog = create_catalog(connection, root_entry(now))
                catalog.finish(revision=1, last_modified=now, previous=None, ttl=ttl)
            database = path.read_bytes()
        self._sign_whitelist(algorithm, whitelist_days)
        self._store.put(MASTER_REPLICA_NAME, _MASTER_REPLICA_TEXT)
        return self._publish(
            Manifest(
                root_hash=self._put(compress(database), algorithm, ObjectKind.CATALOG),
                root_size=len(database),
                ttl=ttl,
                revision=1,
                repository=self.name,
                certificate=self._put_certificate(algorithm),
                published_at=now,
                garbage_collectable=True,
                metainfo=self._put(compress_stock(_METAINFO), algorithm, ObjectKind.METAINFO),
            )
        )

    def _commit(self, current: Manifest, candidate: ContentHash, transaction: str, limits: Limits) -> Manifest:
        if candidate.algorithm is not current.root_hash.algorithm:
            raise CandidateRejected(f"{candidate} is not hashed like the rest of the repository")
        try:
            check_transaction_id(transaction)
            with self._scratch() as work:
                report = inspect_staged(
                    self._store, current, candidate, transaction, limits, now=self._seconds(), work=work
                )
            self._promote(transaction, [*report.objects, (candidate, ObjectKind.CATALOG)])
        except (HashMismatch, PathError) as exc:
            raise CandidateRejected(str(exc)) from exc
        return self._publish(
            replace(
                current,
                root_hash=candidate,
                root_size=report.root_size,
                revision=current.revision + 1,
                certificate=self._put_certificate(candidate.algorithm),
                published_at=max(self._seconds(), current.published_at),
            )
        )

    def _promote(self, transaction: str, objects: Iterable[tuple[ContentHash, ObjectKind]]) -> None:
        try:
            self._store.promote_staged(transaction, objects)
        except ObjectMissing as exc:
            raise CandidateRejected(str(exc)) from exc

    def _publish(self, manifest: Manifest) -> Manifest:
        """Enter everything that ``manifest`` names in the reflog, then sign and store it, last."""
        algorithm = manifest.root_hash.algorithm
        with self._reflog() as reflog:
            references = (
                (manifest.root_hash, ReferenceKind.CATALOG),
                (manifest.certificate, ReferenceKind.CERTIFICATE),
                (manifest.history, ReferenceKind.HISTORY),
                (manifest.metainfo, ReferenceKind.METAINFO),
            )
            for content, kind in references:
                if content is not None:
                    reflog.add(content, kind, manifest.published_at)
            data = reflog.to_bytes()
        complete = replace(manifest, reflog=hash_bytes(data, algorithm))
        signed = sign_manifest(complete.to_text(), self._keys.private_key, algorithm)
        self._store.put(REFLOG_NAME, data)
        self._store.sync()
        self._store.put(MANIFEST_NAME, signed, durable=True)
        return complete

    def _repaired(self, current: Manifest) -> Manifest:
        """Bring the reflog and the manifest's ``Y`` together again, when a crash came between the two."""
        try:
            data = self._store.get(REFLOG_NAME, max_size=_MAX_REFLOG_SIZE)
        except ObjectMissing:
            data = b""
        if current.reflog is not None and hash_bytes(data, current.reflog.algorithm) == current.reflog:
            return current
        return self._publish(replace(current, published_at=max(self._seconds(), current.published_at)))

    def _reflog(self) -> Reflog:
        try:
            return Reflog.parse(self._store.get(REFLOG_NAME, max_size=_MAX_REFLOG_SIZE), self.name)
        except (ObjectMissing, FormatError):
            return Reflog.create(self.name)

    def _whitelist(self) -> Whitelist:
        try:
            read = Whitelist.from_bytes(self._store.get(WHITELIST_NAME, max_size=MAX_WHITELIST_SIZE))
        except (SignatureInvalid, TooLarge) as exc:  # not signed at all, which is not signed by somebody else
            raise FormatError(f"no whitelist: {exc}") from exc
        verify_whitelist_signature(read.signed, self._keys.public_key)
        if read.whitelist.repository != self.name:
            raise WrongRepository(f"the whitelist is for {read.whitelist.repository}, not {self.name}")
        return read.whitelist

    def _sign_whitelist(self, algorithm: HashAlgorithm, days: int) -> datetime:
        now = self._now().astimezone(UTC).replace(microsecond=0)
        whitelist = Whitelist(
            repository=self.name,
            created=now,
            expires=now + timedelta(days=days),
            fingerprints=(fingerprint(self._keys.certificate, algorithm),),
        )
        signed = sign_whitelist(whitelist.to_text(), self._keys.master_key, algorithm)
        self._store.put(WHITELIST_NAME, signed, durable=True)
        return whitelist.expires

    def _put_certificate(self, algorithm: HashAlgorithm) -> ContentHash:
        return self._put(compress_stock(self._keys.certificate), algorithm, ObjectKind.CERTIFICATE)

    def _put(self, stored: bytes, algorithm: HashAlgorithm, kind: ObjectKind) -> ContentHash:
        content = hash_bytes(stored, algorithm)
        name = content.object_path(kind)
        try:
            present = self._store.get(name, max_size=len(stored)) == stored
        except (ObjectMissing, TooLarge):
            present = False
        if not present:  # or cut short by a loss of power before the barrier
            self._store.put(name, stored)
        return content

    def _seconds(self) -> int:
        return int(self._now().timestamp())

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="softman-", dir=self._work_dir) as directory:
            yield Path(directory)
