"""Other keys, one after the other."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from softman.cvmfs.errors import (
    CertificateNotListed,
    FormatError,
    SignatureInvalid,
    VerificationError,
    WhitelistExpired,
)
from softman.cvmfs.format.hashes import HashAlgorithm
from softman.cvmfs.format.keys import RepositoryKeys, generate_keys, renew_master_key, renew_signing_key
from softman.cvmfs.format.manifest import MANIFEST_NAME
from softman.cvmfs.format.whitelist import WHITELIST_NAME, Whitelist
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository
from softman.cvmfs.rotation import put_whitelist, switch_signing_key
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
