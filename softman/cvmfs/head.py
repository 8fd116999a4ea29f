"""The signed head of a repository: what every operation on stratum 0 reads first and replaces last.

Whatever happens in between, readers see the previous revision or the next one, whole: objects come first, then the
reflog, then one barrier, then the manifest. The reflog and the manifest's ``Y`` cannot be replaced together, so what a
crash leaves between the two is repaired by whoever opens the repository for a change next.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from softman.cvmfs.errors import (
    FormatError,
    ObjectMissing,
    SignatureInvalid,
    TooLarge,
    VerificationError,
    WrongRepository,
)
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, ObjectKind, hash_bytes
from softman.cvmfs.format.history import History
from softman.cvmfs.format.keys import RepositoryKeys
from softman.cvmfs.format.manifest import MANIFEST_NAME, MAX_MANIFEST_SIZE, Manifest
from softman.cvmfs.format.objects import compress, compress_stock
from softman.cvmfs.format.reflog import MAX_REFLOG_SIZE, REFLOG_NAME, ReferenceKind, Reflog
from softman.cvmfs.format.signature import (
    fingerprint,
    load_certificate,
    sign_manifest,
    sign_whitelist,
    verify_manifest_signature,
    verify_own_signature,
    verify_whitelist_signature,
)
from softman.cvmfs.format.whitelist import MAX_WHITELIST_SIZE, WHITELIST_NAME, Whitelist
from softman.cvmfs.revisions import Revisions
from softman.cvmfs.store.base import Store
from softman.cvmfs.verify import MAX_CERTIFICATE_SIZE, check_manifest, verify_certificate


class Head:
    """Reads and replaces manifest, reflog, tag database and whitelist of one repository; changes need the lock.

    Args:
        store: where the files are.
        name: the fully qualified name.
        keys: what signs them.
        now: the clock, giving times with a time zone.
        work_dir: for temporary files; None takes the system's directory.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        keys: RepositoryKeys,
        *,
        now: Callable[[], datetime],
        work_dir: Path | None = None,
    ) -> None:
        self.store = store
        self.name = name
        self.keys = keys
        self.now = now
        self.work_dir = work_dir

    def with_keys(self, keys: RepositoryKeys) -> "Head":
        """The same head, signed with other keys."""
        return Head(self.store, self.name, keys, now=self.now, work_dir=self.work_dir)

    def manifest(self) -> Manifest:
        """The manifest in force, its signature verified with our key.

        Raises:
            ObjectMissing: there is none.
            SignatureInvalid: somebody else signed it.
            WrongRepository: it is that of another repository.
            FormatError: it is no manifest.
            HashMismatch: it was changed after it was signed.
        """
        read = Manifest.from_bytes(self.store.get(MANIFEST_NAME, max_size=MAX_MANIFEST_SIZE))
        check_manifest(read.manifest, self.name)
        # What signs the next must fit to this one. A certificate that it names need not be opened when it is ours.
        verify_own_signature(read.signed, self.keys.private_key)
        if not self._names_ours(read.manifest):
            verify_manifest_signature(read.signed, load_certificate(self.keys.certificate))
        return read.manifest

    def _names_ours(self, manifest: Manifest) -> bool:
        return manifest.certificate == hash_bytes(self._certificate, manifest.certificate.algorithm)

    def certificate_of(self, manifest: Manifest) -> bytes:
        """The certificate that ``manifest`` names, PEM: ours, one that ours replaces, or ours in other bytes.

        Raises:
            ObjectMissing: it is not ours, and not in the store.
            HashMismatch: what is stored there is something else.
        """
        if self._names_ours(manifest):
            return self.keys.certificate
        name = manifest.certificate.object_path(ObjectKind.CERTIFICATE)
        return verify_certificate(self.store.get(name, max_size=MAX_CERTIFICATE_SIZE), manifest.certificate)

    @cached_property
    def _certificate(self) -> bytes:
        """Our certificate as it is stored."""
        return compress_stock(self.keys.certificate)

    @contextmanager
    def locked(self) -> Iterator[Manifest]:
        """Hold the right to change the repository; gives the manifest in force, after repairs.

        Raises:
            StoreUnavailable: somebody else holds it for too long.
            CvmfsError: as ``manifest``.
        """
        with self.store.lock(self.name):
            yield self.repaired(self.manifest())

    def publish(self, manifest: Manifest, *, forget: Iterable[ContentHash] = ()) -> Manifest:
        """Enter everything that ``manifest`` names in the reflog, then sign and store it, last.

        Args:
            manifest: the next one; its ``published_at`` is never earlier than that of the one before.
            forget: references to take out of the reflog.
        """
        algorithm = manifest.root_hash.algorithm
        with self.reflog(manifest) as reflog:
            forgotten = list(forget)
            for dead in forgotten:
                reflog.remove(dead)
            references = (
                (manifest.root_hash, ReferenceKind.CATALOG),
                (manifest.certificate, ReferenceKind.CERTIFICATE),
                (manifest.history, ReferenceKind.HISTORY),
                (manifest.metainfo, ReferenceKind.METAINFO),
            )
            for content, kind in references:
                if content is not None and not (kind is ReferenceKind.CATALOG and content in reflog):
                    # The time of a catalog's row is its age for the collector: signing again does not make it young.
                    reflog.add(content, kind, manifest.published_at)
            if forgotten:
                reflog.compact()
            data = reflog.to_bytes()
        complete = replace(manifest, reflog=hash_bytes(data, algorithm))
        signed = sign_manifest(complete.to_text(), self.keys.private_key, algorithm)
        self.store.put(REFLOG_NAME, data)
        self.store.sync()
        self.store.put(MANIFEST_NAME, signed, durable=True)
        return complete

    def repaired(self, current: Manifest) -> Manifest:
        """Bring the reflog and the manifest's ``Y`` together again, when a crash came between the two."""
        try:
            data = self.store.get(REFLOG_NAME, max_size=MAX_REFLOG_SIZE)
        except ObjectMissing:
            data = b""
        if current.reflog is not None and hash_bytes(data, current.reflog.algorithm) == current.reflog:
            return current
        return self.publish(replace(current, published_at=self.not_before(current)))

    def reflog(self, manifest: Manifest) -> Reflog:
        """The reflog; when there is none that can be read, what can be found out from ``manifest``, to be believed."""
        try:
            return Reflog.parse(self.store.get(REFLOG_NAME, max_size=MAX_REFLOG_SIZE), self.name)
        except (ObjectMissing, FormatError):
            reflog = Reflog.create(self.name)
        revisions = Revisions(self.store, manifest, work_dir=self.work_dir)
        # What is left out here is not lost, only never collected.
        with suppress(ObjectMissing, FormatError, VerificationError):
            for revision in revisions.kept():
                reflog.add(revision.root_hash, ReferenceKind.CATALOG, revision.modified)
        with suppress(ObjectMissing, FormatError, VerificationError):
            for content in revisions.earlier_histories():
                reflog.add(content, ReferenceKind.HISTORY, manifest.published_at)
        return reflog

    def put_history(self, history: History, current: Manifest) -> ContentHash:
        """Store a tag database as the successor of that of ``current``."""
        data = compress(replace(history, previous=current.history).to_bytes())
        return self.put(data, current.root_hash.algorithm, ObjectKind.HISTORY)

    def put_certificate(self, algorithm: HashAlgorithm) -> ContentHash:
        """Store our certificate."""
        return self.put(self._certificate, algorithm, ObjectKind.CERTIFICATE)

    def put(self, stored: bytes, algorithm: HashAlgorithm, kind: ObjectKind) -> ContentHash:
        """Store a small object, whose bytes as stored are ``stored``."""
        content = hash_bytes(stored, algorithm)
        name = content.object_path(kind)
        try:
            present = self.store.get(name, max_size=len(stored)) == stored
        except (ObjectMissing, TooLarge):
            present = False
        if not present:  # or cut short by a loss of power before the barrier
            self.store.put(name, stored)
        return content

    def whitelist(self) -> Whitelist:
        """The whitelist, its signature verified with our public master key.

        Raises:
            ObjectMissing: there is none.
            FormatError: it is none, or not signed at all.
            SignatureInvalid: another key has signed it.
            WrongRepository: it is that of another repository.
            HashMismatch: it was changed after it was signed.
        """
        try:
            read = Whitelist.from_bytes(self.store.get(WHITELIST_NAME, max_size=MAX_WHITELIST_SIZE))
        except (SignatureInvalid, TooLarge) as exc:  # not signed at all, which is not signed by somebody else
            raise FormatError(f"no whitelist: {exc}") from exc
        verify_whitelist_signature(read.signed, self.keys.public_key)
        if read.whitelist.repository != self.name:
            raise WrongRepository(f"the whitelist is for {read.whitelist.repository}, not {self.name}")
        return read.whitelist

    def resign_whitelist(self, current: Manifest, days: int, *, also: Iterable[bytes] = ()) -> datetime:
        """``sign_whitelist`` for a repository that is there: the certificate of ``current`` stays allowed.

        Raises:
            ObjectMissing: that certificate is not ours, and not in the store.
        """
        return self.sign_whitelist(current.root_hash.algorithm, days, also=[*also, self.certificate_of(current)])

    def sign_whitelist(self, algorithm: HashAlgorithm, days: int, *, also: Iterable[bytes] = ()) -> datetime:
        """Replace the whitelist.

        Args:
            algorithm: of the fingerprints.
            days: of validity, from now.
            also: further certificates to allow, PEM.

        Returns:
            When it expires.
        """
        now = self.now().astimezone(UTC).replace(microsecond=0)
        certificates = (self.keys.certificate, *also)
        whitelist = Whitelist(
            repository=self.name,
            created=now,
            expires=now + timedelta(days=days),
            fingerprints=tuple(dict.fromkeys(fingerprint(certificate, algorithm) for certificate in certificates)),
        )
        signed = sign_whitelist(whitelist.to_text(), self.keys.master_key, algorithm)
        self.store.put(WHITELIST_NAME, signed, durable=True)
        return whitelist.expires

    def seconds(self) -> int:
        """The present time, Unix seconds."""
        return int(self.now().timestamp())

    def not_before(self, current: Manifest) -> int:
        """The time for the successor of ``current``: clients never go back, whatever the clock says."""
        return max(self.seconds(), current.published_at)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory for temporary files."""
        with tempfile.TemporaryDirectory(prefix="softman-", dir=self.work_dir) as directory:
            yield Path(directory)
