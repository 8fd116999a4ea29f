"""The object store: our credentials and their limits, the topic, and the clock."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from softman.adapters.errormap import translated
from softman.adapters.s3 import reader_access
from softman.adapters.s3_client import S3_TABLE, S3Access, code_of, s3_client, status_of
from softman.adapters.s3_connector import S3Connector
from softman.adapters.s3_http import SignedHttp
from softman.doctor.clocks import compared, from_http
from softman.doctor.finding import Finding, broken, fine, unknown, warning
from softman.doctor.vault import some_bucket
from softman.errors import Forbidden, InvalidInput, SoftmanError
from softman.settings import Settings

AREA = "buckets"
_REFUSED = (401, 403)


def check_buckets(settings: Settings) -> Iterator[Finding]:
    """Look at the object store of the users' buckets."""
    s3 = settings.s3
    if not s3.reader.access_key and not s3.connector.access_key:
        yield unknown(AREA, "no credential for the object store is set here", "set SOFTMAN_S3__READER__ACCESS_KEY")
        return
    if s3.reader.access_key:
        what = "the readers' credential"
        yield from _credential(reader_access(s3), what, "" if s3.reader_role_arn else some_bucket(settings))
        yield from _is_ordinary(reader_access(s3), what)
    if s3.connector.access_key:
        secret = s3.connector.secret_key.get_secret_value()
        access = S3Access(s3.endpoint, s3.connector.access_key, secret, s3.region, ca_file=s3.ca_file)
        yield from _credential(access, "the connector's credential")
        yield from _topic(settings)


def _credential(access: S3Access, what: str, bucket: str = "") -> Iterator[Finding]:
    client: Any = s3_client(access, connections=1)
    try:
        with translated(S3_TABLE, f"log in to the object store with {what}"):
            answer = client.list_buckets()
    except Forbidden as exc:
        yield broken(AREA, str(exc), "correct its two keys; on the object store: radosgw-admin user info --uid ...")
        return
    except (SoftmanError, InvalidInput) as exc:
        yield broken(AREA, str(exc), "does the object store run, and is SOFTMAN_S3__ENDPOINT right?")
        return
    yield fine(AREA, f"the object store takes {what}")
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date:
        yield compared(AREA, "the object store", from_http(date), time.time())
    if bucket:
        yield _may_not_write(client, bucket, what)


def _may_not_write(client: Any, bucket: str, what: str) -> Finding:
    """Break off an upload that does not exist: rights are asked before it is looked for."""
    try:
        client.abort_multipart_upload(Bucket=bucket, Key="cvmfs/nothing", UploadId=f"2~{uuid4().hex}")
    except ClientError as exc:
        if status_of(exc) in _REFUSED:
            return fine(AREA, f"{what} may not write to buckets")
        if code_of(exc) == "NoSuchUpload":
            repair = "it must be no system user with more than a read op-mask; see docs/adr/0004, or use a role"
            return broken(AREA, f"{what} may write to {bucket}: a publisher could change what users store", repair)
    return unknown(AREA, f"whether {what} may write to {bucket} could not be found out")


def _is_ordinary(access: S3Access, what: str) -> Iterator[Finding]:
    """A system user acts as anybody it names, whatever its op-mask says (docs/adr/0004)."""
    try:
        SignedHttp(access).request("GET", "/admin/user", {"uid": "softman-doctor"})
    except ClientError as exc:
        if status_of(exc) in _REFUSED:
            yield fine(AREA, f"{what} is an ordinary user's")
            return
        if code_of(exc) != "NoSuchUser":
            return  # no RGW, or none with these operations
    except BotoCoreError:
        return
    yield broken(AREA, f"{what} is a system user's: it owns the object store", "radosgw-admin user modify --system=0")


def _topic(settings: Settings) -> Iterator[Finding]:
    s3 = settings.s3
    if not s3.push_endpoint.get_secret_value():
        yield broken(AREA, "the object store is not told where RabbitMQ is", "set SOFTMAN_S3__PUSH_ENDPOINT")
        return
    try:
        standing = S3Connector.from_settings(s3).topic_standing()
    except SoftmanError as exc:
        yield broken(AREA, str(exc), "the connector must be a system user of RGW: radosgw-admin user modify --system")
        return
    repair = "reconciliation puts it right by itself, if a connector worker runs; or softman request of any repository"
    if standing is None:
        yield warning(AREA, f"the topic {s3.topic} does not exist yet", repair)
    elif not standing:
        yield broken(AREA, f"the topic {s3.topic} does not push to our broker", repair)
    else:
        yield fine(AREA, f"the topic {s3.topic} pushes to our broker")
