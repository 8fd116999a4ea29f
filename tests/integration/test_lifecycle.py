"""The life of a repository on real parts: rolled back, damaged, given up, restored; asked for as administrators do."""

import json
from typing import Any

import pytest

from softman import wiring
from softman.adapters.s3_client import s3_client
from softman.adapters.vault_layout import Role
from softman.cli import exitcodes
from softman.cli.backend import ServiceBackend
from softman.cli.main import run
from softman.cvmfs.format.hashes import ObjectKind
from softman.errors import Corrupt
from softman.model import LinkState, RetirementLink, State
from softman.names import RepositoryName
from softman.storage import open_store
from tests.support.site import Site


@pytest.fixture
def softman(site: Site, capfd: pytest.CaptureFixture[str]) -> Any:
    """Run a command, and give what it printed as JSON."""

    def call(*arguments: str) -> Any:
        capfd.readouterr()
        code = run([*arguments, "--json"], ServiceBackend(site.settings))
        captured = capfd.readouterr()
        assert code == 0, captured.err
        return json.loads(captured.out)

    return call


def _notified(site: Site, name: RepositoryName) -> bool:
    found = s3_client(site.access(name)).get_bucket_notification_configuration(Bucket=name.bucket)
    return bool(found.get("TopicConfigurations"))


def _let_go(site: Site, name: RepositoryName) -> bool:
    links = wiring.records(site.settings).links(name, RetirementLink)
    return [link.link for link in links if link.state is LinkState.DONE] == list(RetirementLink)


def test_a_life(site: Site, softman: Any) -> None:
    name = site.provision("lively")
    bucket = site.bucket("lively")
    bucket.put("a", b"good")
    site.shows(name, {"/a": b"good"})
    good = site.reader(name).manifest().revision
    bucket.put("a", b"bad")
    site.shows(name, {"/a": b"bad"})

    answer = softman("rollback", "lively", str(good))
    assert answer["shows"] == good
    bucket.put("b", b"waits")
    site.wait(lambda: site.described(name).pending > 0, "the change waits")
    assert site.shown(name) == {"/a": b"good"}
    assert site.described(name).pause is not None
    softman("resume", "lively")
    site.shows(name, {"/a": b"bad", "/b": b"waits"})

    _damage(site, name, b"/b")
    assert _check(site, name) == exitcodes.OUTCOMES[Corrupt].code
    site.wait(lambda: _check(site, name) == exitcodes.OK, "the object is repaired from the bucket")
    assert site.shown(name) == {"/a": b"bad", "/b": b"waits"}
    site.wait(lambda: site.described(name).faults == (), "nothing is wrong any more")
    assert softman("gc", "lively", "--dry-run")["complete"]
    assert softman("quotas", "lively", "--max-entries", "50")["quotas"]["max_entries"] == 50

    softman("retire", "lively")
    site.wait(lambda: _let_go(site, name), "everything is let go")
    assert not _notified(site, name)
    assert site.shown(name) == {"/a": b"bad", "/b": b"waits"}
    bucket.put("c", b"later")
    softman("restore", "lively")
    site.shows(name, {"/a": b"bad", "/b": b"waits", "/c": b"later"})
    site.wait(lambda: site.link_states(name) == {LinkState.DONE}, "it is provisioned again")
    assert _notified(site, name)
    assert site.described(name).state is State.ACTIVE


def _check(site: Site, name: RepositoryName) -> int:
    return run(["check", str(name)], ServiceBackend(site.settings))


def _damage(site: Site, name: RepositoryName, path: bytes) -> None:
    with site.reader(name).snapshot() as snapshot:
        entry = snapshot.lookup(path)
    assert entry is not None
    assert entry.hash is not None
    store = open_store(site.settings, site.settings.cvmfs.storage, str(name), Role.STRATUM0)
    store.put(entry.hash.object_path(ObjectKind.FILE), b"decayed")
