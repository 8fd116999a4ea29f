"""Repositories in a bucket, under all workers: the same journey, and two credentials of which one can only stage."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from softman import wiring
from softman.adapters.s3_client import S3Access
from softman.adapters.s3_objects import S3Objects
from softman.cvmfs.errors import HashMismatch, ObjectMissing
from softman.cvmfs.fetch import is_intact
from softman.names import RepositoryName
from softman.standalone.stack import Options, Stack
from softman.tasks.catalogue import RESYNC, SWEEP_STAGING
from softman.tasks.client import TaskSender, client_app
from tests.support.journey import journey, storage
from tests.support.shaking import shaken
from tests.support.site import Site

SETTINGS = {"CVMFS__STAGING_HOURS": "0.001", "RECONCILE_SECONDS": "10", "SYNC__COMMIT_START_TIMEOUT": "120"}
"""A fresh topic may sleep for half a minute: reconciliation finds what it did not tell.

Publishers wait longer for a commit to begin than the broker waits for them.
"""


@pytest.fixture(scope="module")
def bucket_site(stack_packages: None) -> Iterator[Site]:  # noqa: ARG001 - the packages come first
    directory = Path(tempfile.mkdtemp(prefix="softman-s3-"))  # not tmp_path: paths of sockets must be short
    with Stack.start(directory, options=Options(storage="s3", settings=SETTINGS)) as stack:
        # RabbitMQ 3.10 has 30 minutes, and looks every minute; channels that are opened from now on take these.
        limits = ("consumer_timeout, 15000", "channel_tick_interval, 500")
        stack.rabbitmqctl("eval", ", ".join(f"application:set_env(rabbit, {limit})" for limit in limits) + ".")
        stack.start_workers(flower=False)
        with shaken(stack):
            yield Site(stack)


@pytest.fixture(scope="module")
def travelled(bucket_site: Site) -> RepositoryName:
    return journey(bucket_site, "in-a-bucket")


@pytest.mark.stack
def test_the_journey(bucket_site: Site, travelled: RepositoryName) -> None:
    assert bucket_site.settings.cvmfs.storage.startswith("s3://")
    assert bucket_site.described(travelled).url.startswith(bucket_site.stack.s3_endpoint)
    assert not list(bucket_site.stack.repositories_dir.iterdir())


@pytest.mark.stack
def test_the_periodic_sweep_reaches_the_bucket(bucket_site: Site, travelled: RepositoryName) -> None:
    wiring._staging(bucket_site.stack.settings("publisher"), travelled).write_object([b"forgotten"])
    store, age = storage(bucket_site, travelled), bucket_site.settings.cvmfs.staging_hours * 3600
    bucket_site.wait(lambda: (store.oldest_staged() or 0) < time.time() - age, "it is old enough")
    TaskSender(client_app(bucket_site.settings)).send(SWEEP_STAGING)
    bucket_site.wait(lambda: store.oldest_staged() is None, "it is swept")


def _published(site: Site, name: RepositoryName) -> dict[str, tuple[int, float]]:
    """All files of the repository that clients may read, with size and time."""
    found = storage(site, name).listing()
    return {file.name: (file.size, file.modified) for file in found if not file.name.startswith("data/txn/")}


def _attempts(client: Any, bucket: str, root: str, staged: str, etag: str) -> dict[str, Callable[[], object]]:
    """What a publisher that was taken over would try."""
    there = {"Bucket": bucket}
    manifest = f"{root}.cvmfspublished"
    policy = '{"Version":"2012-10-17","Statement":[]}'
    return {
        "forge the manifest": lambda: client.put_object(**there, Key=manifest, Body=b"forged"),
        "forge the whitelist": lambda: client.put_object(**there, Key=f"{root}.cvmfswhitelist", Body=b"forged"),
        "put an object": lambda: client.put_object(**there, Key=f"{root}data/aa/{'a' * 38}", Body=b"forged"),
        "beside staging": lambda: client.put_object(**there, Key=f"{root}data/txn", Body=b"forged"),
        "beside repositories": lambda: client.put_object(**there, Key="other", Body=b"forged"),
        "promote": lambda: client.copy_object(
            **there, Key=f"{root}data/aa/{'a' * 38}", CopySource={**there, "Key": staged}, CopySourceIfMatch=etag
        ),
        "upload in parts": lambda: client.create_multipart_upload(**there, Key=f"{root}data/aa/{'a' * 38}"),
        "remove the manifest": lambda: client.delete_object(**there, Key=manifest),
        "open the manifest": lambda: client.put_object_acl(**there, Key=manifest, ACL="public-read-write"),
        "open the bucket": lambda: client.put_bucket_acl(**there, ACL="public-read-write"),
        "change the policy": lambda: client.put_bucket_policy(**there, Policy=policy),
        "remove the policy": lambda: client.delete_bucket_policy(**there),
    }


@pytest.mark.stack
def test_the_publishers_credential_writes_below_staging_only(bucket_site: Site, travelled: RepositoryName) -> None:
    settings = bucket_site.stack.settings("publisher").cvmfs
    publisher = settings.s3.publisher
    assert not settings.s3.stratum0.access_key
    secret = publisher.secret_key.get_secret_value()
    bucket, root = settings.storage.removeprefix("s3://"), f"{travelled}/"
    access = S3Access(settings.s3.endpoint, publisher.access_key, secret)
    client: Any = S3Objects(access, bucket, public=False)._client  # which survives refused uploads
    staged = f"{root}data/txn/{'a' * 32}/{'a' * 40}"
    etag = client.put_object(Bucket=bucket, Key=staged, Body=b"staged")["ETag"]
    before = _published(bucket_site, travelled)
    for what, attempt in _attempts(client, bucket, root, staged, etag).items():
        with pytest.raises(ClientError, match=r"AccessDenied|403"):
            pytest.fail(f"a publisher may {what}: {attempt()}")
    assert _published(bucket_site, travelled) == before
    client.delete_object(Bucket=bucket, Key=staged)


@pytest.mark.stack
@pytest.mark.parametrize("damaged", [b"damaged", None], ids=["damaged", "missing"])
def test_what_is_damaged_or_missing_in_the_bucket_is_repaired_by_verifying(
    bucket_site: Site, travelled: RepositoryName, damaged: bytes | None
) -> None:
    precious = b"precious " * 100
    before = bucket_site.shown(travelled)
    bucket_site.bucket(travelled.bucket).put("precious", precious)
    bucket_site.shows(travelled, {**before, "/precious": precious})
    with bucket_site.reader(travelled).snapshot() as snapshot:
        ((content, kind),) = snapshot.lookup("/precious").objects()
    store, path = storage(bucket_site, travelled), content.object_path(kind)
    if damaged is None:
        store.delete(path)
    else:
        store.put(path, damaged)
    with pytest.raises((HashMismatch, ObjectMissing)):
        bucket_site.shown(travelled)
    app = client_app(bucket_site.settings)
    TaskSender(app).send(RESYNC, str(travelled), "cvmfs/precious", True)
    bucket_site.wait(lambda: is_intact(store, content, kind), "it is repaired")
    assert bucket_site.shown(travelled) == {**before, "/precious": precious}


@pytest.mark.stack
def test_a_turn_beyond_the_consumer_timeout_of_the_broker_is_published_once(
    bucket_site: Site, travelled: RepositoryName
) -> None:
    """Stratum 0 sleeps while a publisher waits for its commit; the broker closes the channel and delivers again."""
    stack = bucket_site.stack
    publisher, before = bucket_site.worker_pid("publisher"), bucket_site.shown(travelled)
    log = stack.rabbitmq.home / "log" / "softman@localhost.log"
    begin = log.stat().st_size
    with bucket_site.paused("commit"):
        bucket_site.bucket(travelled.bucket).put("slow", b"slowly")
        bucket_site.wait(lambda: b"has timed out waiting for" in log.read_bytes()[begin:], "the broker has no patience")
    bucket_site.shows(travelled, {**before, "/slow": b"slowly"})
    bucket_site.bucket(travelled.bucket).put("next", b"at once")
    bucket_site.shows(travelled, {**before, "/slow": b"slowly", "/next": b"at once"})
    assert bucket_site.worker_pid("publisher") == publisher
    assert bucket_site.dead_letters() == []
