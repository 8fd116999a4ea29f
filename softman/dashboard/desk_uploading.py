"""The desk, uploading: files from browsers into buckets. What is signed, begun, completed and aborted is logged."""

from collections.abc import Sequence

from softman.adapters.upload_ports import SignedRequest
from softman.dashboard.desk_base import BaseDesk
from softman.errors import InvalidInput, NotFound, SoftmanError
from softman.identity import Principal
from softman.log import get_logger
from softman.model import PUBLISHED_PREFIX, RegistryRecord
from softman.names import RepositoryName
from softman.services.authority import Action
from softman.services.uploads import LocalFile, Plan, Uploads

_log = get_logger(__name__)


class UploadingDesk(BaseDesk):
    """Questions and wishes about uploads.

    All raise ``NotFound`` for a repository that the person may not see and where uploads are switched off,
    ``Forbidden`` for a repository that the person may see and not upload to, and what ``Uploads`` raises.
    """

    @property
    def takes_uploads(self) -> bool:
        """Whether files can be uploaded here at all."""
        return self._services.uploads is not None

    def plan_uploads(self, who: Principal, name: RepositoryName, files: Sequence[LocalFile]) -> Plan:
        """What would become of files."""
        return self._uploads.plan(self._bucket(who, name), files)

    def sign_uploads(
        self, who: Principal, name: RepositoryName, files: Sequence[LocalFile]
    ) -> list[SignedRequest | InvalidInput]:
        """Allow small files to be put, each; or why not."""
        record, uploads = self._bucket(who, name), self._uploads

        def one(file: LocalFile) -> SignedRequest | InvalidInput:
            try:
                return uploads.sign_put(record, file)
            except InvalidInput as exc:
                return exc

        signed = [one(file) for file in files]
        allowed = [file for file, answer in zip(files, signed, strict=True) if isinstance(answer, SignedRequest)]
        _note("uploads are signed", who, name, files=len(allowed), bytes=sum(file.size for file in allowed))
        return signed

    def begin_upload(self, who: Principal, name: RepositoryName, file: LocalFile) -> str:
        """Begin an upload in parts; its id."""
        upload = self._uploads.begin(self._bucket(who, name), file)
        _note("upload in parts is begun", who, name, key=file.key, bytes=file.size)
        return upload

    def sign_parts(
        self, who: Principal, name: RepositoryName, file: LocalFile, upload: str, numbers: Sequence[int]
    ) -> dict[int, SignedRequest]:
        """Allow parts of it to be put."""
        return self._uploads.sign_parts(self._bucket(who, name), file, upload, numbers)

    def arrived_parts(self, who: Principal, name: RepositoryName, file: LocalFile, upload: str) -> list[int]:
        """The parts of it that are there."""
        return self._uploads.arrived(self._bucket(who, name), file, upload)

    def complete_upload(self, who: Principal, name: RepositoryName, file: LocalFile, upload: str) -> str:
        """Make the object of its parts; its ETag."""
        etag = self._uploads.complete(self._bucket(who, name), file, upload)
        _note("upload in parts is complete", who, name, key=file.key, bytes=file.size)
        return etag

    def abort_upload(self, who: Principal, name: RepositoryName, file: LocalFile, upload: str) -> None:
        """Forget it."""
        self._uploads.abort(self._bucket(who, name), file, upload)
        _note("upload in parts is aborted", who, name, key=file.key)

    def follow_uploads(
        self, who: Principal, name: RepositoryName, etags: dict[str, str]
    ) -> tuple[set[str], dict[str, str]]:
        """Which files are published as they were uploaded, and which are refused and why, by path."""
        published = self._uploads.published(self._bucket(who, name), etags)
        try:
            found = {each.key.removeprefix(PUBLISHED_PREFIX): each for each in self._services.records.refusals(name)}
        except SoftmanError:  # told later
            found = {}
        refused = {
            path: found[path].reason
            for path, etag in etags.items()
            if path in found and path not in published and found[path].etag in {etag, ""}
        }
        return published, refused

    @property
    def _uploads(self) -> Uploads:
        if self._services.uploads is None:
            msg = "uploads in the browser are switched off here"
            raise NotFound(msg)
        return self._services.uploads

    def _bucket(self, who: Principal, name: RepositoryName) -> RegistryRecord:
        return self._seen(who, name, Action.UPLOAD).record


def _note(event: str, who: Principal, name: RepositoryName, **facts: object) -> None:
    _log.info(event, repository=str(name), subject=who.subject, user=who.user, **facts)
