"""What owners see of their repository and can do about it, through the command line and Celery's, on real parts."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from softman.adapters.s3_connector import S3Connector
from softman.adapters.vault import VaultKeys
from softman.adapters.vault_layout import Role
from softman.adapters.vault_session import VaultSession
from softman.cli.backend import ServiceBackend
from softman.cli.demo.bucket import UserBucket
from softman.cli.main import run
from softman.cvmfs.errors import HashMismatch
from softman.cvmfs.format.keys import RepositoryKeys
from softman.cvmfs.repository import Repository
from softman.names import RepositoryName
from softman.storage import open_store
from softman.tasks.client import client_app
from tests.support.patience import SECONDS
from tests.support.site import Site

FIRST = {"/a/one": b"a/one" * 100, "/a/two": b"a/two" * 100, "/b/three": b"b/three" * 100}
Softman = Callable[..., list[Any]]


@pytest.fixture
def softman(site: Site, unique: str, capsys: pytest.CaptureFixture[str]) -> Softman:
    """Run one command about the repository; the objects that it prints."""

    def call(command: str, *options: str) -> list[Any]:
        code = run([command, unique, *options, "--json"], ServiceBackend(site.settings))
        printed = capsys.readouterr()
        assert code == 0, printed.err
        # The log, which the command itself would keep quiet, is there, too.
        return [json.loads(line) for line in printed.out.splitlines() if line.startswith("{")]

    return call


@pytest.fixture
def bucket(site: Site, unique: str) -> UserBucket:
    """A bucket that holds ``FIRST`` and a key that is refused."""
    site.stack.create_s3_user(unique)
    S3Connector.from_settings(site.settings.s3).ensure_bucket(unique, unique)
    bucket = site.bucket(unique)
    for path, content in FIRST.items():
        bucket.put(path[1:], content)
    bucket.put("../bad", b"")
    return bucket


@pytest.fixture
def name(site: Site, bucket: UserBucket) -> RepositoryName:
    """Its repository."""
    return site.provision(bucket.name)


@pytest.fixture
def unheard(site: Site, name: RepositoryName) -> None:
    """Nobody hears of what changes from now on."""
    S3Connector.from_settings(site.settings.s3).remove_notification(name.bucket)


def damage(site: Site, name: RepositoryName, path: bytes, content: bytes) -> None:
    """Publish other content of a file, as if nothing else had changed, with the keys of stratum 0."""
    vault = VaultKeys(VaultSession(site.settings.vault, Role.STRATUM0), site.settings.vault)
    material = vault.read_signing(name)
    assert material is not None
    keys = RepositoryKeys(b"", *(material[each].encode() for each in ("publicKey", "privateKey", "certificate")))
    storage = open_store(site.settings, site.settings.cvmfs.storage, str(name), Role.STRATUM0)
    repository = Repository(storage, str(name), keys, now=lambda: datetime.now(UTC))
    with repository.transaction() as transaction:
        entry = transaction.lookup(path)
        assert entry is not None
        transaction.add_bytes(
            path, content, entry.permissions, entry.mtime, mtime_ns=entry.mtime_ns, xattrs=entry.xattrs
        )


def numbers(report: dict[str, Any]) -> tuple[str, int, int, int, int]:
    return report["scope"], report["added"], report["changed"], report["removed"], report["refusals"]


@pytest.mark.usefixtures("name")
def test_owners_see_what_was_published(softman: Softman) -> None:
    (first,) = softman("syncs")
    assert numbers(first) == ("everything", 3, 0, 0, 1)
    assert first["bytes_read"] == sum(map(len, FIRST.values()))
    assert [(each["key"], "'..'" in each["reason"]) for each in softman("refused")] == [("cvmfs/../bad", True)]
    (described,) = softman("status")
    assert described["usage"] == {"entries": 6, "bytes": first["bytes_read"]}  # three files, two folders, and the root
    assert (described["revision"], described["pending"], described["failure"]) == (first["revision"], 0, None)
    (backlog,) = softman("pending")
    assert (backlog["pending"], backlog["everything"], backlog["keys"]) == (0, False, [])
    added = {(each["change"], each["path"]) for each in softman("diff", "1", str(first["revision"]))}
    assert added >= {("added", path) for path in ("/a", "/b", *FIRST)}


@pytest.mark.usefixtures("unheard")
def test_owners_plan_and_resync_a_folder(
    site: Site, name: RepositoryName, bucket: UserBucket, softman: Softman
) -> None:
    bucket.put("a/new", b"new")
    bucket.delete("a/two")
    bucket.put("b/new", b"new")
    (plan,) = softman("resync", "--dry-run", "--prefix", "cvmfs/a/")
    assert (plan["counts"], plan["complete"]) == ({"add": 1, "remove": 1}, True)
    assert {(each["action"], each["key"]) for each in plan["steps"]} == {
        ("add", "cvmfs/a/new"),
        ("remove", "cvmfs/a/two"),
    }
    assert len(softman("syncs")) == 1
    softman("resync", "--prefix", "cvmfs/a/")
    last, _ = softman("syncs")
    assert numbers(last) == ("cvmfs/a/", 1, 0, 1, 0)
    assert site.shown(name) == {"/a/one": FIRST["/a/one"], "/a/new": b"new", "/b/three": FIRST["/b/three"]}
    changed = {each["path"]: each["change"] for each in softman("diff") if each["path"] != "/a"}
    assert changed == {"/a/new": "added", "/a/two": "removed"}


@pytest.mark.usefixtures("unheard")
def test_admins_resync_with_the_command_line_of_celery(
    site: Site, name: RepositoryName, bucket: UserBucket, softman: Softman
) -> None:
    (first,) = softman("syncs")
    bucket.put("b/new", b"new")
    called = site.celery("call", "softman.resync", f'--args=["{name}"]', '--kwargs={"prefix": "cvmfs/b/"}')
    assert called.returncode == 0, called.stderr
    answer = client_app(site.settings).AsyncResult(called.stdout.strip()).get(timeout=SECONDS)
    assert (answer["message"], answer["more"]) == (f"revision {first['revision'] + 1}", False)
    assert site.shown(name) == {**FIRST, "/b/new": b"new"}


def test_stored_content_that_is_damaged_is_repaired_by_verifying(
    site: Site, name: RepositoryName, softman: Softman
) -> None:
    with site.reader(name).snapshot() as snapshot:
        ((content, kind),) = snapshot.lookup("/a/one").objects()
    stored = Path(urlsplit(site.settings.cvmfs.storage).path) / str(name) / content.object_path(kind)
    before = stored.read_bytes()
    stored.write_bytes(bytes(len(before)))
    with pytest.raises(HashMismatch):
        site.shown(name)
    (first,) = softman("syncs")
    softman("resync", "--verify")
    assert stored.read_bytes() == before
    assert site.shown(name) == FIRST
    last, _ = softman("syncs")
    assert (last["repaired"], last["revision"]) == (1, first["revision"])
    assert numbers(last) == ("everything, verifying content", 0, 0, 0, 1)


def test_damage_that_only_content_tells_is_found_by_verifying(
    site: Site, name: RepositoryName, softman: Softman
) -> None:
    damage(site, name, b"/a/one", b"A/ONE" * 100)
    assert site.shown(name)["/a/one"] == b"A/ONE" * 100
    softman("resync")
    assert site.shown(name)["/a/one"] == b"A/ONE" * 100
    softman("resync", "--verify")
    assert site.shown(name) == FIRST
    last, *_ = softman("syncs")
    assert numbers(last) == ("everything, verifying content", 0, 1, 0, 1)
    (repaired,) = softman("diff")
    assert (repaired["change"], repaired["path"], repaired["what"]) == ("changed", "/a/one", ["content"])
    assert [each["key"] for each in softman("refused")] == ["cvmfs/../bad"]
