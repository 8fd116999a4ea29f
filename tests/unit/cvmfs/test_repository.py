"""Stratum 0: creating, committing, and every way in which a commit can end."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from softman.cvmfs.check import catalog_problems
from softman.cvmfs.errors import (
    CandidateRejected,
    FormatError,
    ObjectMissing,
    RepositoryExists,
    RevisionConflict,
    SignatureInvalid,
    StoreUnavailable,
    WhitelistExpired,
)
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes
from softman.cvmfs.format.keys import renew_certificate
from softman.cvmfs.format.manifest import MANIFEST_NAME
from softman.cvmfs.format.objects import compress_stock
from softman.cvmfs.format.reflog import REFLOG_NAME, ReferenceKind, Reflog
from softman.cvmfs.format.whitelist import WHITELIST_NAME
from softman.cvmfs.making import MASTER_REPLICA_NAME
from softman.cvmfs.repository import Limits, Repository
from softman.cvmfs.staging import Staging
from softman.cvmfs.transaction import Candidate, Transaction
from tests.support.crashing import Crash, FailingStore
from tests.support.writing import Workshop, add, keys

pytestmark = pytest.mark.slow


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    workshop = Workshop(tmp_path / "repository")
    workshop.create()
    return workshop


def shown(workshop: Workshop) -> dict[str, bytes]:
    """All files, read and verified from the master key down, and every catalog rule checked."""
    with workshop.reader().snapshot() as snapshot:
        assert list(catalog_problems(snapshot.catalog)) == []
        assert snapshot.catalog.properties.revision == snapshot.manifest.revision
        files = (entry for entry in snapshot.walk() if entry.is_file)
        return {os.fsdecode(entry.path): b"".join(snapshot.read_entry(entry)) for entry in files}


def references(workshop: Workshop) -> dict[ContentHash, ReferenceKind]:
    """The reflog, after its hash was compared with the manifest's."""
    data = (workshop.root / REFLOG_NAME).read_bytes()
    manifest = workshop.repository.manifest()
    assert manifest.reflog == hash_bytes(data)
    with Reflog.parse(data, workshop.name) as reflog:
        return {reference.hash: reference.kind for reference in reflog.references()}


def break_file(path: Path, content: bytes | None) -> None:
    """Replace a file, or remove it."""
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


def test_a_new_repository(workshop: Workshop) -> None:
    manifest = workshop.reader().manifest()
    assert (manifest.revision, manifest.ttl, manifest.root_size, manifest.repository) == (1, 60, 16384, workshop.name)
    assert (manifest.garbage_collectable, manifest.history, manifest.alternative_path) == (True, None, False)
    assert manifest.metainfo is not None
    assert references(workshop) == {
        manifest.root_hash: ReferenceKind.CATALOG,
        manifest.certificate: ReferenceKind.CERTIFICATE,
        manifest.metainfo: ReferenceKind.METAINFO,
    }
    certificate = workshop.root / manifest.certificate.object_path(ObjectKind.CERTIFICATE)
    assert certificate.read_bytes() == compress_stock(workshop.keys.certificate)
    assert (workshop.root / manifest.metainfo.object_path(ObjectKind.METAINFO)).exists()
    assert str(manifest.metainfo) == "c33de42d51991a74c12a59993ac7eb6c20adf423"
    assert (workshop.root / MASTER_REPLICA_NAME).read_bytes().endswith(b"stratum 1 servers\n")
    names = {path.name for path in (workshop.root / "data").iterdir()}
    assert names == {f"{number:02x}" for number in range(256)} | {"txn"}
    assert shown(workshop) == {}


def test_creating_twice_changes_nothing(workshop: Workshop) -> None:
    files = {path: path.read_bytes() for path in workshop.root.rglob("*") if path.is_file()}
    workshop.time += timedelta(hours=5)
    assert workshop.create().revision == 1
    assert {path: path.read_bytes() for path in workshop.root.rglob("*") if path.is_file()} == files
    workshop.publish(add("/f"))
    assert workshop.create().revision == 2
    assert shown(workshop) == {"/f": b"content"}


def test_other_keys(workshop: Workshop) -> None:
    other = Workshop(workshop.root, keys=keys(1))
    with pytest.raises(RepositoryExists):
        other.create()
    mixed = replace(workshop.keys, master_key=keys(1).master_key, public_key=keys(1).public_key)
    with pytest.raises(RepositoryExists):
        Workshop(workshop.root, keys=mixed).create()
    with pytest.raises(RepositoryExists):
        Workshop(workshop.root, "other.example.org", workshop.keys).create()
    with pytest.raises(FormatError):
        Workshop(workshop.root, keys=replace(workshop.keys, public_key=keys(1).public_key)).create()
    assert workshop.create().revision == 1


def test_a_lost_whitelist_is_signed_anew(workshop: Workshop) -> None:
    workshop.publish(add("/f"))
    for damage in (None, b"", b"20261122120000\n"):
        break_file(workshop.root / WHITELIST_NAME, damage)
        assert workshop.create().revision == 2
        assert shown(workshop) == {"/f": b"content"}


def test_whitelists(workshop: Workshop) -> None:
    assert workshop.repository.whitelist_expires() == workshop.time + timedelta(days=30)
    manifest = (workshop.root / MANIFEST_NAME).read_bytes()
    workshop.time += timedelta(days=31)
    with pytest.raises(WhitelistExpired):
        workshop.reader().manifest()
    assert workshop.repository.resign_whitelist(7) == workshop.time + timedelta(days=7)
    assert workshop.reader().manifest().revision == 1
    assert (workshop.root / MANIFEST_NAME).read_bytes() == manifest
    (workshop.root / WHITELIST_NAME).unlink()
    assert workshop.repository.whitelist_expires() < workshop.time - timedelta(days=1000)
    with pytest.raises(SignatureInvalid):
        Repository(workshop.store, workshop.name, keys(1), now=workshop.now).resign_whitelist(7)


def test_commits(workshop: Workshop) -> None:
    first = workshop.repository.manifest()
    workshop.time += timedelta(seconds=10)
    second = workshop.publish(add("/d/f", b"one"))
    assert (second.revision, second.published_at - first.published_at) == (2, 10)
    assert second == workshop.repository.manifest()
    third = workshop.publish(add("/d/f", b"two" * 100_000))
    assert shown(workshop) == {"/d/f": b"two" * 100_000}
    assert {first.root_hash, second.root_hash, third.root_hash, third.certificate} <= references(workshop).keys()
    assert list((workshop.root / "data" / "txn").iterdir()) == []
    with workshop.reader().snapshot() as snapshot:
        assert snapshot.catalog.properties.previous_revision == second.root_hash


def test_chunked_content(workshop: Workshop) -> None:
    content = os.urandom(1000)

    def change(transaction: Transaction, staging: Staging) -> None:
        transaction.add_file("/big", staging.write_file([content], threshold=300, chunk_size=300), 0o644, 5)

    workshop.publish(change)
    assert shown(workshop) == {"/big": content}


def test_redelivery_is_success(workshop: Workshop) -> None:
    candidate, staging = workshop.candidate(add("/f"))
    manifest = workshop.commit(candidate, staging)
    before = (workshop.root / MANIFEST_NAME).read_bytes()
    assert workshop.commit(candidate, staging) == manifest
    assert (workshop.root / MANIFEST_NAME).read_bytes() == before


def test_the_second_of_two_is_told_who_was_first(workshop: Workshop) -> None:
    one, two = workshop.candidate(add("/one")), workshop.candidate(add("/two"))
    manifest = workshop.commit(*one)
    with pytest.raises(RevisionConflict) as caught:
        workshop.commit(*two)
    assert (caught.value.revision, caught.value.root_hash) == (2, str(manifest.root_hash))
    assert two[1].directory.exists()
    assert shown(workshop) == {"/one": b"content"}
    with pytest.raises(RevisionConflict):  # the right revision of another history
        workshop.repository.commit(
            two[0].root_hash, base_revision=2, base_root_hash=one[0].base_root_hash, transaction=two[1].transaction
        )


def test_of_many_at_once_one_is_first(workshop: Workshop) -> None:
    candidates = [workshop.candidate(add(f"/{number}")) for number in range(4)]
    barrier = threading.Barrier(4)

    def commit(one: tuple[Candidate, Staging]) -> bool:
        barrier.wait()
        with suppress(RevisionConflict):
            workshop.commit(*one)
            return True
        return False

    with ThreadPoolExecutor(4) as executor:
        done = list(executor.map(commit, candidates))
    assert sum(done) == 1
    assert shown(workshop) == {f"/{done.index(True)}": b"content"}


def test_time_does_not_go_back(workshop: Workshop) -> None:
    before = workshop.repository.manifest().published_at
    workshop.time -= timedelta(hours=3)
    assert workshop.publish(add("/f")).published_at == before
    (workshop.root / REFLOG_NAME).unlink()
    assert workshop.publish(add("/g")).published_at == before


def rejected(workshop: Workshop, change: Callable[[Staging], object], match: str) -> None:
    """After ``change`` in the staging area the commit is refused, and nothing was published."""
    candidate, staging = workshop.candidate(add("/f"))
    before = (workshop.root / MANIFEST_NAME).read_bytes()
    change(staging)
    with pytest.raises(CandidateRejected, match=match):
        workshop.commit(candidate, staging)
    assert (workshop.root / MANIFEST_NAME).read_bytes() == before
    assert shown(workshop) == {}


def catalog_of(staging: Staging) -> Path:
    return next(path for path in staging.directory.iterdir() if path.name.endswith("C"))


def content_of(staging: Staging) -> Path:
    return next(path for path in staging.directory.iterdir() if not path.name.endswith("C"))


def test_nothing_staged(workshop: Workshop) -> None:
    rejected(workshop, lambda staging: staging.discard(), "not in the staging area")
    rejected(workshop, lambda staging: catalog_of(staging).unlink(), "not in the staging area")
    rejected(workshop, lambda staging: content_of(staging).unlink(), "neither staged nor stored")


def test_an_object_that_a_loss_of_power_cut_short_is_not_referred_to(workshop: Workshop) -> None:
    def cut(staging: Staging) -> None:
        path = content_of(staging)
        whole = path.read_bytes()
        object_path = workshop.root / ContentHash.parse(path.name).object_path(ObjectKind.FILE)
        path.rename(object_path)
        object_path.write_bytes(whole[:-1])
        os.utime(object_path, (1, 1))  # before the host started again

    rejected(workshop, cut, "neither staged nor stored")
    workshop.publish(add("/f"))  # the publisher does not take it for the object either
    assert shown(workshop) == {"/f": b"content"}


def test_staged_content_is_hashed_again(workshop: Workshop) -> None:
    rejected(workshop, lambda staging: content_of(staging).write_bytes(b"other"), "has the hash")
    rejected(workshop, lambda staging: catalog_of(staging).write_bytes(b"other"), "has the hash")


def test_staged_links_are_not_followed(workshop: Workshop, tmp_path: Path) -> None:
    def link(path: Path) -> None:
        shutil.move(path, tmp_path / "aside")
        path.symlink_to(tmp_path / "aside")

    rejected(workshop, lambda staging: link(catalog_of(staging)), "staging area")
    rejected(workshop, lambda staging: link(content_of(staging)), "plain file")


def test_a_bomb(workshop: Workshop) -> None:
    candidate, staging = workshop.candidate(add("/f"))
    forged = workshop.replace_catalog(candidate, staging, bytes(50_000_000))
    with pytest.raises(CandidateRejected, match="more than 1000000 bytes"):
        workshop.commit(forged, staging, Limits(max_catalog_bytes=1_000_000))
    with pytest.raises(CandidateRejected, match="as stored"):
        workshop.commit(forged, staging, Limits(max_catalog_bytes=1))


def test_a_forged_catalog_is_refused_by_the_process(workshop: Workshop) -> None:
    candidate, staging = workshop.candidate(add("/f"))
    forged = workshop.forge(candidate, staging, "UPDATE catalog SET mode=mode|2048 WHERE name='f'")
    with pytest.raises(CandidateRejected, match="'/f': mode 104644 has set-id"):
        workshop.commit(forged, staging)
    with pytest.raises(CandidateRejected, match="quota"):
        workshop.commit(candidate, staging, Limits(max_entries=1))
    with pytest.raises(CandidateRejected, match="outside"):
        workshop.commit(candidate, staging, Limits(lease_path=b"/\xe9"))
    assert workshop.commit(candidate, staging).revision == 2


def test_the_process_has_limits(workshop: Workshop) -> None:
    candidate, staging = workshop.candidate(add("/f"))
    with pytest.raises(StoreUnavailable, match=r"more than 0\.001 s"):
        workshop.commit(candidate, staging, Limits(timeout=0.001))
    with pytest.raises(CandidateRejected):
        workshop.commit(candidate, staging, Limits(memory_bytes=1))
    with pytest.raises(CandidateRejected, match="too much time"):
        workshop.commit(candidate, staging, Limits(cpu_seconds=0))
    assert workshop.commit(candidate, staging).revision == 2


def test_the_process_has_no_secret(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTMAN_VAULT__STRATUM0__SECRET_ID", "hidden")
    start, environments = subprocess.Popen, []

    def spy(*arguments: Any, **options: Any) -> Any:
        environments.append(set(options["env"]))
        return start(*arguments, **options)

    monkeypatch.setattr("softman.cvmfs.confined.subprocess.Popen", spy)
    workshop.publish(add("/f"))
    assert environments == [{"SQLITE_TMPDIR"}]


@pytest.mark.parametrize("transaction", ["", "..", "../../data", "A" * 32])
def test_impossible_transactions(workshop: Workshop, transaction: str) -> None:
    candidate, _ = workshop.candidate(add("/f"))
    with pytest.raises(CandidateRejected, match="no transaction"):
        workshop.repository.commit(
            candidate.root_hash,
            base_revision=candidate.base_revision,
            base_root_hash=candidate.base_root_hash,
            transaction=transaction,
        )


def test_without_a_repository(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    with pytest.raises(ObjectMissing):
        workshop.repository.manifest()
    with pytest.raises(ObjectMissing):
        workshop.repository.commit(
            hash_bytes(b"a"), base_revision=1, base_root_hash=hash_bytes(b"b"), transaction="0" * 32
        )


def test_a_lost_or_torn_reflog_is_made_good(workshop: Workshop) -> None:
    workshop.publish(add("/f"))
    for damage in (None, b"", b"x"):
        break_file(workshop.root / REFLOG_NAME, damage)
        manifest = workshop.create()
        with workshop.reader().snapshot() as snapshot:
            before = snapshot.catalog.properties.previous_revision
        named = {manifest.root_hash, manifest.certificate, manifest.metainfo, manifest.history}
        assert references(workshop).keys() == {*named, before}
        assert shown(workshop) == {"/f": b"content"}


def test_a_renewed_certificate_is_taken_up(workshop: Workshop) -> None:
    workshop.publish(add("/f"))
    candidate, staging = workshop.candidate(add("/g"))
    certificate = renew_certificate(workshop.name, workshop.keys.private_key, workshop.time)
    renewed = Workshop(workshop.root, keys=replace(workshop.keys, certificate=certificate))
    renewed.repository.resign_whitelist(30)
    assert renewed.commit(candidate, staging).certificate == hash_bytes(compress_stock(certificate))
    assert shown(renewed) == {"/f": b"content", "/g": b"content"}


def test_creating_survives_a_crash_at_every_step(tmp_path: Path) -> None:
    done = False
    for steps in range(20):
        workshop = Workshop(tmp_path / str(steps))
        broken = Repository(FailingStore(workshop.root, steps), workshop.name, workshop.keys, now=workshop.now)
        with suppress(Crash):
            broken.create(ttl=60, whitelist_days=30)
            done = True
        workshop.time += timedelta(seconds=1)
        assert workshop.create().revision == 1
        assert shown(workshop) == {}
        assert len(references(workshop)) in {3, 4}  # the lost attempt had another root catalog
        if done:
            assert steps > 5
            return
    pytest.fail("never came to an end")


def test_committing_survives_a_crash_at_every_step(tmp_path: Path) -> None:
    base = Workshop(tmp_path / "base")
    base.create()
    base.publish(add("/old", b"old"))
    ends = set()
    for steps in range(20):
        workshop = Workshop(tmp_path / str(steps))
        shutil.copytree(base.root, workshop.root)
        candidate, staging = workshop.candidate(add("/new", b"new"))
        broken = Repository(FailingStore(workshop.root, steps), workshop.name, workshop.keys, now=workshop.now)
        try:
            broken.commit(
                candidate.root_hash,
                base_revision=candidate.base_revision,
                base_root_hash=candidate.base_root_hash,
                transaction=staging.transaction,
            )
        except Crash:
            files = shown(workshop)
            assert files == {"/old": b"old"}, "the manifest comes last"
            ends.add(workshop.store.exists(candidate.root_hash.object_path(ObjectKind.CATALOG)))
            assert workshop.create().revision == 2  # the next opening
            assert candidate.base_root_hash in references(workshop)
            assert workshop.commit(candidate, staging).revision == 3  # the redelivery
        assert shown(workshop) == {"/old": b"old", "/new": b"new"}
        assert candidate.root_hash in references(workshop)
        if not staging.directory.exists() and steps > 4:
            break
    assert ends == {False, True}
