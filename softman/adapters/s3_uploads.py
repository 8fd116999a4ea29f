"""Uploads by browsers: the dashboard's user signs URLs, each for one key, one part, its size and a short time.

The bytes go from the browser to the object store; what is asked here is small. Seen on Ceph RGW 16.2.15: a signed
``Content-Length`` binds the size, the ACL and the metadata have to be sent as they were signed, parts take no ACL, and
completing an upload is allowed by the right to put.
"""

from datetime import timedelta
from hashlib import md5
from typing import TYPE_CHECKING, Any, Final, Self

from softman.adapters.errormap import translated
from softman.adapters.s3_client import S3_TABLE, S3Access, s3_client
from softman.adapters.s3_upload_grants import OWNER_KEEPS_CONTROL
from softman.adapters.upload_ports import SignedRequest, StoredPart
from softman.errors import Forbidden, NotFound
from softman.settings import S3Credential, S3Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

VALID: Final = timedelta(minutes=15)
"""A request has to begin within this time; how long it then takes does not count."""


class S3Uploads:
    """``UploadStore`` on Ceph RGW. Threads may share it.

    Args:
        access: the object store, as this host reaches it, and the dashboard's user.
        public: the object store as browsers reach it: its name is part of each signature.
    """

    def __init__(self, access: S3Access, public: str) -> None:
        self._client: S3Client = s3_client(access)
        self._signer: S3Client = s3_client(
            S3Access(public, access.access_key, access.secret_key, access.region, ca_file=access.ca_file)
        )

    @classmethod
    def from_settings(cls, settings: S3Settings, credential: S3Credential) -> Self:
        """Sign with the dashboard's credential."""
        secret = credential.secret_key.get_secret_value()
        access = S3Access(settings.endpoint, credential.access_key, secret, settings.region, ca_file=settings.ca_file)
        return cls(access, settings.public_endpoint or settings.endpoint)

    def sign_put(self, bucket: str, key: str, size: int, metadata: dict[str, str]) -> SignedRequest:
        """See ``UploadStore.sign_put``."""
        wanted = {"ACL": OWNER_KEEPS_CONTROL, "Metadata": metadata, "ContentLength": size}
        url = self._signed("put_object", Bucket=bucket, Key=key, **wanted)
        headers = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        return SignedRequest(url, {"x-amz-acl": OWNER_KEEPS_CONTROL, **headers})

    def begin(self, bucket: str, key: str, metadata: dict[str, str]) -> str:
        """See ``UploadStore.begin``."""
        with translated(S3_TABLE, f"begin an upload to bucket {bucket}"):
            answer = self._client.create_multipart_upload(
                Bucket=bucket, Key=key, ACL=OWNER_KEEPS_CONTROL, Metadata=metadata
            )
        return answer["UploadId"]

    def sign_part(self, bucket: str, key: str, upload: str, number: int, size: int) -> SignedRequest:
        """See ``UploadStore.sign_part``."""
        part = {"UploadId": upload, "PartNumber": number, "ContentLength": size}
        return SignedRequest(self._signed("upload_part", Bucket=bucket, Key=key, **part), {})

    def parts(self, bucket: str, key: str, upload: str) -> dict[int, StoredPart]:
        """See ``UploadStore.parts``."""
        found: dict[int, StoredPart] = {}
        try:
            with translated(S3_TABLE, f"list the parts of an upload to bucket {bucket}"):
                pages = self._client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload)
                for page in pages:
                    parts = page.get("Parts", [])
                    found |= {each["PartNumber"]: StoredPart(each["Size"], each["ETag"]) for each in parts}
        except Forbidden as exc:  # so RGW says to who may not list the bucket
            msg = f"there is no such upload to bucket {bucket}, or the dashboard is not let in"
            raise NotFound(msg) from exc
        return found

    def complete(self, bucket: str, key: str, upload: str, parts: dict[int, StoredPart]) -> str:
        """See ``UploadStore.complete``."""
        listed: Any = [{"PartNumber": number, "ETag": part.etag} for number, part in sorted(parts.items())]
        with translated(S3_TABLE, f"complete an upload to bucket {bucket}"):
            self._client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": listed}
            )
        return _etag([part.etag for _, part in sorted(parts.items())])

    def abort(self, bucket: str, key: str, upload: str) -> None:
        """See ``UploadStore.abort``."""
        with translated(S3_TABLE, f"abort an upload to bucket {bucket}"):
            self._client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)

    def _signed(self, method: str, **parameters: Any) -> str:
        seconds = int(VALID.total_seconds())
        return self._signer.generate_presigned_url(method, Params=parameters, ExpiresIn=seconds)


def _etag(parts: list[str]) -> str:
    """The ETag of an object made of parts, which RGW leaves out of its answer: the hash of their hashes."""
    hashes = b"".join(bytes.fromhex(each.strip('"')) for each in parts)
    return f"{md5(hashes, usedforsecurity=False).hexdigest()}-{len(parts)}"
