from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from softman.cvmfs.errors import FormatError, SignatureInvalid
from softman.cvmfs.format.hashes import HashAlgorithm
from softman.cvmfs.format.keys import (
    GatewayKey,
    RepositoryKeys,
    generate_gateway_key,
    generate_keys,
    renew_certificate,
)
from softman.cvmfs.format.signature import (
    SignedText,
    load_certificate,
    load_private_key,
    load_public_key,
    sign_manifest,
    sign_whitelist,
    verify_manifest_signature,
    verify_whitelist_signature,
)

if TYPE_CHECKING:
    from tests.unit.cvmfs.conftest import FixtureRepository

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
LONG = "a-repository-with-a-rather-long-name.software.example.org"


@pytest.fixture(scope="module")
def keys() -> RepositoryKeys:
    return generate_keys("test.example.org", NOW)


def test_generated_keys_are_as_the_stock_tools_make_them(keys: RepositoryKeys) -> None:
    keys.check()
    for pem in (keys.master_key, keys.private_key):
        key = load_private_key(pem)
        assert (key.key_size, key.public_key().public_numbers().e) == (2048, 65537)
    assert keys.public_key.startswith(b"-----BEGIN PUBLIC KEY-----\n")
    certificate = load_certificate(keys.certificate)
    assert certificate.subject == certificate.issuer
    assert certificate.subject.rfc4514_string() == "CN=test.example.org CernVM-FS Release Managers"
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 365
    assert certificate.not_valid_before_utc == NOW


def test_a_long_name_is_cut_to_what_a_certificate_can_hold(keys: RepositoryKeys) -> None:
    certificate = load_certificate(renew_certificate(LONG, keys.private_key, NOW))
    name = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    assert name == "a-repository-with-a-rather-lon[...] CernVM-FS Release Managers"


def test_what_the_keys_sign_they_verify_and_no_others(
    keys: RepositoryKeys, basic_repository: "FixtureRepository"
) -> None:
    text = b"a line\n"
    for algorithm in HashAlgorithm:
        manifest = SignedText.split(sign_manifest(text, keys.private_key, algorithm), "manifest")
        whitelist = SignedText.split(sign_whitelist(text, keys.master_key, algorithm), "whitelist")
        verify_manifest_signature(manifest, load_certificate(keys.certificate))
        verify_whitelist_signature(whitelist, keys.public_key)
        with pytest.raises(SignatureInvalid):
            verify_manifest_signature(manifest, load_certificate(basic_repository.keys.certificate))
        with pytest.raises(SignatureInvalid):
            verify_whitelist_signature(whitelist, basic_repository.keys.public_key)
        with pytest.raises(SignatureInvalid):  # one has a DigestInfo, the other has not
            verify_whitelist_signature(manifest, load_public_pem(keys.private_key))


def load_public_pem(private_key: bytes) -> bytes:
    public = load_private_key(private_key).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_only_a_text_of_lines_can_be_signed(keys: RepositoryKeys) -> None:
    for text in (b"", b"no newline", b"a\n--\nb\n"):
        with pytest.raises(FormatError, match="text to be signed"):
            sign_manifest(text, keys.private_key, HashAlgorithm.SHA1)


def test_keys_that_do_not_belong_together_are_noticed(
    keys: RepositoryKeys, basic_repository: "FixtureRepository"
) -> None:
    basic_repository.keys.check()
    other = basic_repository.keys
    with pytest.raises(FormatError, match="public key is not that of the master key"):
        RepositoryKeys(keys.master_key, other.public_key, keys.private_key, keys.certificate).check()
    with pytest.raises(FormatError, match="certificate is not that of the private key"):
        RepositoryKeys(keys.master_key, keys.public_key, keys.private_key, other.certificate).check()


def test_keys_of_another_kind_are_refused(keys: RepositoryKeys) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    private = curve.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = curve.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for load, data in (
        (load_private_key, private),
        (load_private_key, keys.public_key),
        (load_private_key, b""),
        (load_public_key, public),
        (load_public_key, b"garbage"),
        (load_certificate, keys.public_key),
    ):
        with pytest.raises(FormatError):
            load(data)


def test_private_keys_do_not_show(keys: RepositoryKeys) -> None:
    assert "PRIVATE" not in repr(keys)
    gateway = generate_gateway_key()
    assert gateway.secret not in repr(gateway)


@pytest.mark.parametrize("name", ["", "../x", "a b.example.org", ".example.org", "a" * 61, "a..b"])
def test_keys_are_made_for_repository_names_only(name: str) -> None:
    with pytest.raises(FormatError, match="not a repository name"):
        generate_keys(name, NOW)


def test_a_gateway_key_file_is_read_and_written() -> None:
    assert GatewayKey.parse("plain_text key1 SECRET1\n") == GatewayKey("key1", "SECRET1")
    assert GatewayKey("key1", "SECRET1").to_text() == "plain_text key1 SECRET1\n"
    fresh = generate_gateway_key()
    assert GatewayKey.parse(fresh.to_text()) == fresh
    assert generate_gateway_key() != fresh


@pytest.mark.parametrize("text", ["", "plain_text key1", "plain_text a b c", "other key1 SECRET1"])
def test_what_is_no_gateway_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        GatewayKey.parse(text)
    assert "SECRET1" not in str(caught.value)


@pytest.mark.parametrize(("key_id", "secret"), [("", "x"), ("x", ""), ("a b", "x"), ("a", "x\n")])
def test_a_gateway_key_is_two_words(key_id: str, secret: str) -> None:
    with pytest.raises(FormatError):
        GatewayKey(key_id, secret)
