from typing import TYPE_CHECKING

import pytest

from softman.cvmfs.errors import FormatError, SignatureInvalid
from softman.cvmfs.format.hashes import ContentHash, hash_bytes
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.signature import sign_manifest

if TYPE_CHECKING:
    from tests.unit.cvmfs.conftest import FixtureRepository

# The test vector of the format reference, section 14.4.
TEXT = b"""\
Cf955a232d9123df28f75c56073fb2c8787a7b1aa
B57344
Rd41d8cd98f00b204e9800998ecf8427e
D240
S1
Gyes
Ano
Ntest.example.org
Xb05c4ac70c4ef638c6718cfaf726dc178ac9135d
Hca5b40bd9df2b509ea000690dc8449384e880145
T1795338254
Mf6d6a6bf847cbc13ab4e0fdb55dadacb75ff76fc
Ybde111a9683443cef5f834cf1fbdeba9ad8cfcfe
"""
BLOCK = b"--\neda38b88052dc32b4d1d5a5af4d3fd0dff7c35e1\nsignature"


def test_the_fields_are_read() -> None:
    assert Manifest.parse(TEXT) == Manifest(
        root_hash=ContentHash.parse("f955a232d9123df28f75c56073fb2c8787a7b1aa"),
        root_size=57344,
        ttl=240,
        revision=1,
        repository="test.example.org",
        certificate=ContentHash.parse("b05c4ac70c4ef638c6718cfaf726dc178ac9135d"),
        published_at=1795338254,
        garbage_collectable=True,
        alternative_path=False,
        history=ContentHash.parse("ca5b40bd9df2b509ea000690dc8449384e880145"),
        metainfo=ContentHash.parse("f6d6a6bf847cbc13ab4e0fdb55dadacb75ff76fc"),
        reflog=ContentHash.parse("bde111a9683443cef5f834cf1fbdeba9ad8cfcfe"),
    )


def test_the_text_comes_out_as_the_stock_writer_has_it() -> None:
    assert Manifest.parse(TEXT).to_text() == TEXT
    assert str(hash_bytes(TEXT)) == "eda38b88052dc32b4d1d5a5af4d3fd0dff7c35e1"


def test_optional_fields_may_be_missing_and_unknown_ones_are_passed_over() -> None:
    lines = [line for line in TEXT.splitlines(keepends=True) if line[:1] not in {b"B", b"G", b"A", b"H", b"M", b"Y"}]
    manifest = Manifest.parse(b"".join(lines) + b"Zchannel tip\n")
    assert (manifest.root_size, manifest.garbage_collectable, manifest.history) == (0, False, None)
    assert Manifest.parse(manifest.to_text()) == manifest


def test_a_signed_file_keeps_the_text_as_it_was_read() -> None:
    signed = Manifest.from_bytes(TEXT + BLOCK).signed
    assert (signed.text, signed.signature) == (TEXT, b"signature")


@pytest.mark.parametrize("key", "CRDSNXT")
def test_a_field_that_verification_needs_must_be_there(key: str) -> None:
    text = b"".join(line for line in TEXT.splitlines(keepends=True) if line[:1] != key.encode())
    with pytest.raises(FormatError, match=f"required field {key} missing"):
        Manifest.parse(text)


@pytest.mark.parametrize(
    "line",
    [
        b"C../../etc/passwd",
        b"Cf955a232d9123df28f75c56073fb2c8787a7b1aaC",
        b"CF955A232D9123DF28F75C56073FB2C8787A7B1AA",
        b"Rb05c4ac70c4ef638c6718cfaf726dc17",
        b"S-1",
        b"S 1",
        b"S1_000",
        b"S" + b"9" * 30,
        b"Gmaybe",
        b"N../x",
        b"N",
        b"X",
        b"T\xff",
    ],
)
def test_a_malformed_field_is_named(line: bytes) -> None:
    text = b"".join(
        (line if own[:1] == line[:1] else own.rstrip(b"\n")) + b"\n" for own in TEXT.splitlines(keepends=True)
    )
    with pytest.raises(FormatError, match="manifest malformed"):
        Manifest.parse(text)


def test_a_field_may_not_be_there_twice() -> None:
    with pytest.raises(FormatError, match="field S is there twice"):
        Manifest.parse(TEXT + b"S2\n")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", FormatError, "empty"),
        (TEXT, SignatureInvalid, "without signature"),
        (TEXT + b"--\nno hash\nsignature", FormatError, "not a content hash"),
        (TEXT + b"--", SignatureInvalid, "without signature"),
        (TEXT + b"Z" * 4096 + b"\n" + BLOCK, FormatError, "bytes"),
    ],
)
def test_a_file_that_is_no_signed_manifest_is_refused(data: bytes, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Manifest.from_bytes(data)


def test_every_manifest_of_the_stock_tools_signed_again_is_the_same_file(any_repository: "FixtureRepository") -> None:
    for step in any_repository.truth["steps"]:
        data = any_repository.manifest(step)
        read = Manifest.from_bytes(data)
        assert read.manifest.revision == step["revision"]
        assert str(read.signed.hash) == step["manifest_hash_line"]
        text = read.manifest.to_text()
        assert sign_manifest(text, any_repository.keys.private_key, read.manifest.root_hash.algorithm) == data
