"""What the hostile fixtures do not show: several master keys, the order of the checks, every single byte."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from softman.cvmfs.errors import (
    CvmfsError,
    FormatError,
    HashMismatch,
    ManifestOutdated,
    SignatureInvalid,
    WhitelistExpired,
    WrongRepository,
)
from softman.cvmfs.format.hashes import ObjectKind
from softman.cvmfs.format.keys import generate_keys
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.verify import check_manifest, verify_certificate, verify_manifest, verify_whitelist

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.cvmfs.conftest import FixtureRepository


def parts(repository: "FixtureRepository") -> tuple[bytes, bytes, bytes]:
    """Manifest, whitelist and certificate object."""
    files = repository.files
    manifest = Manifest.from_bytes(files[".cvmfspublished"]).manifest
    certificate = files[manifest.certificate.object_path(ObjectKind.CERTIFICATE)]
    return files[".cvmfspublished"], files[".cvmfswhitelist"], certificate


def verify(repository: "FixtureRepository", manifest: bytes, whitelist: bytes, certificate: bytes) -> Manifest:
    return verify_manifest(
        manifest,
        whitelist,
        certificate,
        [repository.keys.public_key],
        repository=repository.name,
        now=repository.now,
    )


def test_repositories_of_the_stock_tools_are_believed(any_repository: "FixtureRepository") -> None:
    manifest = verify(any_repository, *parts(any_repository))
    assert manifest.revision == any_repository.truth["steps"][-1]["revision"]


def test_any_one_of_several_master_keys_will_do(
    load_repository: "Callable[[str], FixtureRepository]",
) -> None:
    basic, other = load_repository("basic"), load_repository("none").keys.public_key
    whitelist = basic.files[".cvmfswhitelist"]
    for keys in ([basic.keys.public_key, other], [other, basic.keys.public_key], [b"broken", basic.keys.public_key]):
        verify_whitelist(whitelist, keys, basic.name, basic.now)
    with pytest.raises(SignatureInvalid, match="public master key"):
        verify_whitelist(whitelist, [other], basic.name, basic.now)
    with pytest.raises(SignatureInvalid, match="no public master key"):
        verify_whitelist(whitelist, [], basic.name, basic.now)
    with pytest.raises(FormatError, match="not a public key"):
        verify_whitelist(whitelist, [b"broken"], basic.name, basic.now)


def test_no_byte_of_a_signed_file_can_be_changed(basic_repository: "FixtureRepository") -> None:
    manifest, whitelist, certificate = parts(basic_repository)
    for position in range(len(manifest)):
        changed = bytearray(manifest)
        changed[position] ^= 1
        with pytest.raises(CvmfsError):
            verify(basic_repository, bytes(changed), whitelist, certificate)
    for position in range(len(whitelist)):
        changed = bytearray(whitelist)
        changed[position] ^= 1
        with pytest.raises(CvmfsError):
            verify(basic_repository, manifest, bytes(changed), certificate)
    for position in range(0, len(certificate), 7):
        changed = bytearray(certificate)
        changed[position] ^= 1
        with pytest.raises(HashMismatch):
            verify(basic_repository, manifest, whitelist, bytes(changed))


def test_the_whitelist_is_checked_against_the_clock_given(basic_repository: "FixtureRepository") -> None:
    _, whitelist, _ = parts(basic_repository)
    keys = [basic_repository.keys.public_key]
    expiry = datetime.fromtimestamp(basic_repository.truth["whitelist"]["expires_epoch"], UTC)
    verify_whitelist(whitelist, keys, basic_repository.name, expiry - timedelta(hours=1))
    with pytest.raises(WhitelistExpired):
        verify_whitelist(whitelist, keys, basic_repository.name, expiry)


def test_the_signature_is_checked_before_anything_in_a_whitelist_is_believed(
    basic_repository: "FixtureRepository",
) -> None:
    _, whitelist, _ = parts(basic_repository)
    stranger = generate_keys("other.example.org", basic_repository.now).public_key
    late = basic_repository.now + timedelta(days=365)
    with pytest.raises(SignatureInvalid):
        verify_whitelist(whitelist, [stranger], "other.example.org", late)


def test_a_manifest_is_for_one_repository_and_never_goes_back(basic_repository: "FixtureRepository") -> None:
    steps = basic_repository.truth["steps"]
    old, new = (Manifest.from_bytes(basic_repository.manifest(step)).manifest for step in (steps[3], steps[-1]))
    check_manifest(new, basic_repository.name, known=old)
    check_manifest(new, basic_repository.name, known=new)
    with pytest.raises(ManifestOutdated):
        check_manifest(old, basic_repository.name, known=new)
    with pytest.raises(WrongRepository):
        check_manifest(new, "other.example.org", known=old)


def test_a_certificate_object_must_hold_a_certificate(basic_repository: "FixtureRepository") -> None:
    manifest = Manifest.from_bytes(basic_repository.files[".cvmfspublished"]).manifest
    assert manifest.metainfo is not None
    metainfo = basic_repository.files[manifest.metainfo.object_path(ObjectKind.METAINFO)]
    with pytest.raises(FormatError, match="not a certificate"):
        verify_certificate(metainfo, manifest.metainfo)
    _, _, stored = parts(basic_repository)
    assert verify_certificate(stored, manifest.certificate) == basic_repository.keys.certificate
