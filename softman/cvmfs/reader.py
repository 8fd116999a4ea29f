"""The verifying reader: from a store and a public key to a manifest that can be believed, and on to its content."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from softman.cvmfs.errors import TooLarge
from softman.cvmfs.fetch import is_intact
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.format.history import History
from softman.cvmfs.format.manifest import MANIFEST_NAME, MAX_MANIFEST_SIZE, Manifest
from softman.cvmfs.format.names import check_repository_name
from softman.cvmfs.format.whitelist import MAX_WHITELIST_SIZE, WHITELIST_NAME, Whitelist
from softman.cvmfs.revisions import Revision, Revisions, read_history
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.store.base import ReadableStore
from softman.cvmfs.verify import MAX_CERTIFICATE_SIZE, check_manifest, verify_manifest, verify_whitelist


class RepositoryReader:
    """Reads one repository and believes nothing that is not signed.

    It remembers the newest manifest it has verified and refuses older ones from then on. Safe to be shared by threads.

    Args:
        store: where the repository's files are.
        repository: the fully qualified name to be found there.
        public_keys: public master keys, PEM.
        now: the clock, giving times with a time zone.
        work_dir: for temporary files; None takes the system's directory.
        known: a manifest of this repository that was verified before, if any.

    Raises:
        FormatError: ``repository`` is no repository name.
    """

    def __init__(
        self,
        store: ReadableStore,
        repository: str,
        public_keys: Sequence[bytes],
        *,
        now: Callable[[], datetime],
        work_dir: Path | None = None,
        known: Manifest | None = None,
    ) -> None:
        self.repository = check_repository_name(repository)
        self._store = store
        self._public_keys = tuple(public_keys)
        self._now = now
        self._work_dir = work_dir
        self._known = known
        self._guard = Lock()

    def manifest(self) -> Manifest:
        """The manifest as published now, verified.

        Raises:
            ObjectMissing: manifest, whitelist or certificate is not there.
            StoreUnavailable: the store does not answer.
            FormatError: a file has not the form it should have.
            VerificationError: see ``verify.verify_manifest`` for the classes.
        """
        data = self._small_file(MANIFEST_NAME, MAX_MANIFEST_SIZE, "manifest")
        claimed = Manifest.from_bytes(data).manifest
        check_manifest(claimed, self.repository, known=self._known)  # before anything is fetched on its word
        certificate = self._small_file(
            claimed.certificate.object_path(ObjectKind.CERTIFICATE), MAX_CERTIFICATE_SIZE, "certificate object"
        )
        whitelist = self._small_file(WHITELIST_NAME, MAX_WHITELIST_SIZE, "whitelist")
        verified = verify_manifest(
            data,
            whitelist,
            certificate,
            self._public_keys,
            repository=self.repository,
            now=self._now(),
            known=self._known,
        )
        with self._guard:  # another thread may have seen a newer one meanwhile
            if self._known is None or self._known.revision <= verified.revision:
                self._known = verified
        return verified

    def whitelist(self) -> Whitelist:
        """The whitelist as published now, its signature verified; it may have expired.

        Raises:
            CvmfsError: it is not there, not a whitelist, or not signed for this repository by a key of ours.
        """
        data = self._small_file(WHITELIST_NAME, MAX_WHITELIST_SIZE, "whitelist")
        return verify_whitelist(data, self._public_keys, self.repository, datetime.min.replace(tzinfo=UTC))

    def snapshot(
        self, *, tag: str | None = None, revision: int | None = None, head: Manifest | None = None
    ) -> Snapshot:
        """A revision, to be used as a context manager: the one published now, or an earlier one that is still kept.

        Earlier ones are as trustworthy as the newest: hashes lead to them from the signed manifest.

        Args:
            tag: of the revision.
            revision: its number. The search goes back from tag to tag, and from revision to revision.
            head: a manifest that this reader gave, to begin with; None looks for the newest.

        Raises:
            TagError: there is no such tag.
            RevisionMissing: there is no such revision any more.
            ValueError: both are given.
            CvmfsError: as ``manifest``, and the errors of ``Snapshot``.
        """
        if tag is not None and revision is not None:
            raise ValueError("either a tag or a revision, not both")
        manifest = self.manifest() if head is None else head
        known = Revisions(self._store, manifest, work_dir=self._work_dir)
        if tag is not None:
            manifest = known.tagged(tag).manifest(manifest)
        elif revision is not None:
            manifest = known.numbered(revision).manifest(manifest)
        return Snapshot(self._store, manifest, work_dir=self._work_dir)

    def history(self, *, head: Manifest | None = None) -> History:
        """The tags as of now, or as of a manifest that this reader gave.

        Raises:
            CvmfsError: as ``manifest``; and when the tag database is lost or damaged.
        """
        return read_history(self._store, self.manifest() if head is None else head, work_dir=self._work_dir)

    def revisions(self, *, head: Manifest | None = None, first: ContentHash | None = None) -> Iterator[Revision]:
        """The revisions that can still be looked at, newest first, with their tags; loaded one by one.

        Args:
            head: a manifest that this reader gave, to begin with; None looks for the newest.
            first: the root catalog of the first one to give, which is one of them.

        Raises:
            CvmfsError: as ``manifest``; and, while iterating, when a root catalog is damaged.
        """
        manifest = self.manifest() if head is None else head
        return Revisions(self._store, manifest, work_dir=self._work_dir).kept(first)

    def is_intact(self, content: ContentHash, kind: ObjectKind) -> bool:
        """Whether an object is stored with the bytes that it is named by; see ``fetch.is_intact``."""
        return is_intact(self._store, content, kind)

    def _small_file(self, name: str, max_size: int, what: str) -> bytes:
        try:
            return self._store.get(name, max_size=max_size)
        except TooLarge as error:
            raise TooLarge(f"{what} too large: over {max_size} bytes") from error
