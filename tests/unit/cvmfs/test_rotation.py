"""Other keys, one after the other."""

import zlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from softman.cvmfs.errors import (
    CertificateNotListed,
    FormatError,
    RepositoryExists,
    SignatureInvalid,
    VerificationError,
    WhitelistExpired,
)
from softman.cvmfs.format.hashes import HashAlgorithm, ObjectKind, hash_bytes
from softman.cvmfs.format.keys import (
    RepositoryKeys,
    generate_keys,
    renew_certificate,
    renew_master_key,
    renew_signing_key,
)
from softman.cvmfs.format.manifest import MANIFEST_NAME, Manifest
from softman.cvmfs.format.objects import compress_stock
from softman.cvmfs.format.signature import sign_manifest
from softman.cvmfs.format.whitelist import WHITELIST_NAME, Whitelist
from softman.cvmfs.head import Head
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository
from softman.cvmfs.rotation import put_whitelist, switch_signing_key
from tests.support.crashing import Crash, FailingStore
from tests.support.writing import NAME, START, Workshop, add, keys

pytestmark = pytest.mark.slow


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    workshop = Workshop(tmp_path / "repository")
    workshop.create()
    workshop.publish(add("/f"))
    return workshop


@pytest.fixture(scope="module")
def renewed() -> RepositoryKeys:
    return renew_signing_key(NAME, keys(), START)


def read(workshop: Workshop, public_key: bytes | None = None) -> int:
    known = [public_key or workshop.keys.public_key]
    return RepositoryReader(workshop.store, workshop.name, known, now=workshop.now).manifest().revision


def test_a_new_signing_key(workshop: Workshop, renewed: RepositoryKeys) -> None:
    renewed.check()
    assert renewed.master_key == workshop.keys.master_key
    before = (workshop.root / MANIFEST_NAME).read_bytes()
    manifest = workshop.repository.rotate_signing_key(renewed, days=30)
    assert read(workshop) == 2
    assert workshop.repository.manifest() == manifest
    workshop.publish(add("/g"))  # with the new key
    assert read(workshop) == 3
    (workshop.root / MANIFEST_NAME).write_bytes(before)
    with pytest.raises(CertificateNotListed):
        read(workshop)


def test_the_old_certificate_may_stay_allowed(workshop: Workshop, renewed: RepositoryKeys) -> None:
    before = (workshop.root / MANIFEST_NAME).read_bytes()
    workshop.repository.rotate_signing_key(renewed, days=30, keep_old=True)
    after = (workshop.root / MANIFEST_NAME).read_bytes()
    assert read(workshop) == 2
    (workshop.root / MANIFEST_NAME).write_bytes(before)
    assert read(workshop) == 2
    (workshop.root / MANIFEST_NAME).write_bytes(after)
    workshop.repository.resign_whitelist(30)
    assert len(Whitelist.from_bytes((workshop.root / WHITELIST_NAME).read_bytes()).whitelist.fingerprints) == 1
    assert read(workshop) == 2


def test_a_certificate_to_come(workshop: Workshop, renewed: RepositoryKeys) -> None:
    workshop.repository.resign_whitelist(30, also=[renewed.certificate, workshop.keys.certificate])
    listed = Whitelist.from_bytes((workshop.root / WHITELIST_NAME).read_bytes()).whitelist
    assert len(listed.fingerprints) == 2
    assert listed.lists(renewed.certificate)
    assert read(workshop) == 2


def test_switching_to_a_listed_certificate(workshop: Workshop, renewed: RepositoryKeys) -> None:
    renewed = replace(renewed, master_key=b"")
    with pytest.raises(CertificateNotListed):
        switch_signing_key(workshop.repository.head, renewed)
    assert read(workshop) == 2
    workshop.repository.resign_whitelist(30, also=[renewed.certificate])
    for _ in range(2):  # again, as after a kill
        manifest = switch_signing_key(workshop.repository.head, renewed)
        assert read(workshop) == 2
    after = Repository(workshop.store, NAME, renewed, now=workshop.now)
    assert after.manifest() == manifest
    with pytest.raises(SignatureInvalid):
        workshop.repository.manifest()


def test_a_whitelist_signed_elsewhere(workshop: Workshop, renewed: RepositoryKeys) -> None:
    path = workshop.root / WHITELIST_NAME
    first = path.read_bytes()
    workshop.time += timedelta(hours=1)
    workshop.repository.resign_whitelist(60, also=[renewed.certificate])
    second = path.read_bytes()
    path.write_bytes(first)
    head = workshop.repository.head.with_keys(replace(workshop.keys, master_key=b""))
    assert put_whitelist(head, second).lists(renewed.certificate)
    assert path.read_bytes() == second
    with pytest.raises(VerificationError, match="older"):
        put_whitelist(head, first)
    stranger = generate_keys(NAME, START)
    others = workshop.repository.head.with_keys(stranger)
    others.sign_whitelist(HashAlgorithm.SHA1, 90)
    foreign = path.read_bytes()
    path.write_bytes(second)
    with pytest.raises(SignatureInvalid):
        put_whitelist(head, foreign)
    with pytest.raises(CertificateNotListed):
        put_whitelist(head.with_keys(replace(stranger, public_key=workshop.keys.public_key)), second)
    workshop.time += timedelta(days=61)
    with pytest.raises(WhitelistExpired):
        put_whitelist(head, second)
    assert path.read_bytes() == second


def test_repeating_an_interrupted_rotation(workshop: Workshop, renewed: RepositoryKeys) -> None:
    Repository(workshop.store, NAME, keys(), now=workshop.now).rotate_signing_key(renewed, days=30)
    again = Repository(workshop.store, NAME, keys(), now=workshop.now)
    again.rotate_signing_key(renewed, days=30)
    assert read(workshop) == 2
    with pytest.raises(SignatureInvalid):
        Repository(workshop.store, NAME, keys(1), now=workshop.now).rotate_signing_key(
            renew_signing_key(NAME, keys(1), START), days=30
        )


def test_keys_that_do_not_fit(workshop: Workshop, renewed: RepositoryKeys) -> None:
    for wrong in (keys(1), replace(renewed, certificate=keys().certificate)):
        with pytest.raises(FormatError):
            workshop.repository.rotate_signing_key(wrong, days=30)
    for wrong in (keys(1), replace(keys(), public_key=keys(1).public_key)):
        with pytest.raises(FormatError):
            workshop.repository.rotate_master_key(wrong, days=30)
    assert read(workshop) == 2


def test_a_new_master_key(workshop: Workshop) -> None:
    fresh = renew_master_key(workshop.keys)
    assert (fresh.private_key, fresh.certificate) == (workshop.keys.private_key, workshop.keys.certificate)
    manifest = (workshop.root / MANIFEST_NAME).read_bytes()
    assert workshop.repository.rotate_master_key(fresh, days=7) == workshop.time + timedelta(days=7)
    assert (workshop.root / MANIFEST_NAME).read_bytes() == manifest
    with pytest.raises(SignatureInvalid):
        read(workshop)
    assert read(workshop, fresh.public_key) == 2
    assert workshop.repository.whitelist_expires() == workshop.time + timedelta(days=7)


def test_one_master_key_for_a_domain(tmp_path: Path) -> None:
    name = "other.example.org"
    shared = generate_keys(name, START, master_key=keys().master_key)
    shared.check()
    assert shared.public_key == keys().public_key
    assert shared.private_key != keys().private_key
    for repository, its_keys in ((NAME, keys()), (name, shared)):
        workshop = Workshop(tmp_path / repository, repository, its_keys)
        workshop.create()
        assert read(workshop, keys().public_key) == 1
    with pytest.raises(FormatError):
        generate_keys(name, START, master_key=b"no key")


def files(workshop: Workshop) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in workshop.root.rglob("*") if path.is_file()}


def owner(workshop: Workshop, its_keys: RepositoryKeys) -> Repository:
    return Repository(workshop.store, NAME, its_keys, now=workshop.now)


@pytest.mark.parametrize("steps", range(6))
def test_a_rotation_half_done_strands_nobody(workshop: Workshop, renewed: RepositoryKeys, steps: int) -> None:
    """Wherever it stops, one of the two sets of keys goes on, the other changes nothing, and it can be repeated."""
    with pytest.raises(Crash):
        Repository(FailingStore(workshop.root, steps), NAME, keys(), now=workshop.now).rotate_signing_key(
            renewed, days=30
        )
    assert read(workshop) == 2
    named = Manifest.from_bytes((workshop.root / MANIFEST_NAME).read_bytes()).manifest.certificate
    useful, useless = (
        (keys(), renewed) if named == hash_bytes(compress_stock(keys().certificate)) else (renewed, keys())
    )
    before = files(workshop)
    stranger = owner(workshop, useless)
    for attempt in (
        stranger.manifest,
        lambda: stranger.resign_whitelist(30),
        lambda: stranger.add_tag("theirs"),
        lambda: stranger.create(ttl=60, whitelist_days=30),
    ):
        with pytest.raises((SignatureInvalid, RepositoryExists)):
            attempt()
    assert files(workshop) == before
    owner(workshop, useful).resign_whitelist(30)
    workshop.repository = owner(workshop, useful)
    workshop.publish(add("/g"))
    assert read(workshop) == 3
    owner(workshop, keys()).rotate_signing_key(renewed, days=30)
    workshop.repository = owner(workshop, renewed)
    workshop.publish(add("/h"))
    assert read(workshop) == 4


@pytest.mark.parametrize("again", [False, True], ids=["our bytes", "other bytes"])
def test_a_key_without_its_certificate_signs_nothing(workshop: Workshop, renewed: RepositoryKeys, again: bool) -> None:
    """Files of two key pairs were mixed up; readers would refuse what such a pair signs."""
    if again:  # the same certificate, compressed as somebody else does it
        recompress_certificate(workshop)
    assert read(workshop) == 2
    before = files(workshop)
    for mixed in (
        replace(keys(), private_key=renewed.private_key),
        replace(keys(), certificate=renewed.certificate),
    ):
        with pytest.raises(SignatureInvalid):
            owner(workshop, mixed).resign_whitelist(30)
        with pytest.raises(SignatureInvalid):
            owner(workshop, mixed).undo()
    assert files(workshop) == before


def recompress_certificate(workshop: Workshop) -> None:
    """Store the certificate in other bytes, and name those in the manifest."""
    read = Manifest.from_bytes((workshop.root / MANIFEST_NAME).read_bytes())
    stored = zlib.compress(keys().certificate, 1)
    name = hash_bytes(stored)
    assert name != read.manifest.certificate
    workshop.store.put(name.object_path(ObjectKind.CERTIFICATE), stored)
    text = replace(read.manifest, certificate=name).to_text()
    workshop.store.put(MANIFEST_NAME, sign_manifest(text, keys().private_key, name.algorithm))


def test_a_fresh_certificate_for_the_same_key_does_not_forbid_the_one_in_force(workshop: Workshop) -> None:
    fresh = replace(keys(), certificate=renew_certificate(NAME, keys().private_key, START + timedelta(days=1)))
    repository = owner(workshop, fresh)
    repository.resign_whitelist(30)
    assert read(workshop) == 2
    workshop.repository = repository
    workshop.publish(add("/g"))
    assert read(workshop) == 3
    repository.rotate_signing_key(fresh, days=30)
    assert read(workshop) == 3
    repository.resign_whitelist(30)
    assert len(Whitelist.from_bytes((workshop.root / WHITELIST_NAME).read_bytes()).whitelist.fingerprints) == 1
    assert read(workshop) == 3


def test_a_switch_to_a_fresh_certificate_for_the_same_key(workshop: Workshop) -> None:
    """A whitelist without the certificate that the manifest names would lock readers out; the switch replaces it."""
    fresh = replace(keys(), certificate=renew_certificate(NAME, keys().private_key, START + timedelta(days=1)))
    elsewhere = Workshop(workshop.root.parent / "elsewhere", keys=fresh)
    elsewhere.create()
    only_fresh = (elsewhere.root / WHITELIST_NAME).read_bytes()
    head = Head(workshop.store, NAME, fresh, now=workshop.now)
    with pytest.raises(CertificateNotListed, match="that the manifest names"):
        put_whitelist(head, only_fresh)
    elsewhere.repository.resign_whitelist(30, also=[keys().certificate])
    put_whitelist(head, (elsewhere.root / WHITELIST_NAME).read_bytes())
    switched = switch_signing_key(Head(workshop.store, NAME, keys(), now=workshop.now), fresh)
    assert switched.certificate == hash_bytes(compress_stock(fresh.certificate))
    put_whitelist(head, only_fresh)
    assert read(workshop) == 2
