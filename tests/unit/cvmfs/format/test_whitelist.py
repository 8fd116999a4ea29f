from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from softman.cvmfs.errors import FormatError, SignatureInvalid
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, hash_bytes
from softman.cvmfs.format.signature import fingerprint, sign_whitelist
from softman.cvmfs.format.whitelist import Whitelist, fingerprint_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.cvmfs.conftest import FixtureRepository

# The test vector of the format reference, section 14.5.
TEXT = b"""\
20241018120000
E20241117120000
Ntest.example.org
1A:1F:33:2A:06:E0:74:C9:FB:34:1C:10:D3:73:57:2A:32:31:A3:9E
"""
LISTED = ContentHash.parse("1a1f332a06e074c9fb341c10d373572a3231a39e")


def test_the_lines_are_read_and_written() -> None:
    whitelist = Whitelist.parse(TEXT)
    assert whitelist == Whitelist(
        repository="test.example.org",
        created=datetime(2024, 10, 18, 12, tzinfo=UTC),
        expires=datetime(2024, 11, 17, 12, tzinfo=UTC),
        fingerprints=(LISTED,),
    )
    assert whitelist.to_text() == TEXT
    assert str(hash_bytes(TEXT)) == "0468c0d04d37da9236b9e2db48b35196c043c7bd"


def test_every_whitelist_of_the_stock_tools_signed_again_is_the_same_file(any_repository: "FixtureRepository") -> None:
    data = any_repository.files[".cvmfswhitelist"]
    read = Whitelist.from_bytes(data)
    assert [fingerprint_text(hash_) for hash_ in read.whitelist.fingerprints] == any_repository.truth["whitelist"][
        "fingerprints"
    ]
    text = read.whitelist.to_text()
    assert sign_whitelist(text, any_repository.keys.master_key, read.signed.hash.algorithm) == data


def test_it_expires_at_the_beginning_of_the_hour() -> None:
    whitelist = Whitelist.parse(TEXT.replace(b"E20241117120000", b"E20241117123000"))
    noon = datetime(2024, 11, 17, 12, tzinfo=UTC)
    assert not whitelist.is_expired(noon - timedelta(seconds=1))
    assert whitelist.is_expired(noon)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"1a:1f:33:2a:06:e0:74:c9:fb:34:1c:10:d3:73:57:2a:32:31:a3:9e", [LISTED]),
        (b"1A1F332A06E074C9FB341C10D373572A3231A39E # the old one", [LISTED]),
        (b"1A:1F:33:2A:06:E0:74:C9:FB:34:1C:10:D3:73:57:2A:32:31:A3:9E\tcomment", [LISTED]),
        (
            b"1A:1F:33:2A:06:E0:74:C9:FB:34:1C:10:D3:73:57:2A:32:31:A3:9E-SHAKE128",
            [ContentHash(LISTED.digest, HashAlgorithm.SHAKE128)],
        ),
        (b"# nothing but a comment", []),
        (b"1A:1F", []),
        (b"", []),
    ],
)
def test_fingerprints_are_found_among_other_lines(line: bytes, expected: list[ContentHash]) -> None:
    text = b"".join(TEXT.splitlines(keepends=True)[:3]) + line + b"\n"
    assert list(Whitelist.parse(text).fingerprints) == expected


@pytest.mark.parametrize("algorithm", HashAlgorithm)
def test_a_certificate_is_found_by_a_fingerprint_in_any_algorithm(
    load_repository: "Callable[[str], FixtureRepository]", algorithm: HashAlgorithm
) -> None:
    basic_repository, other = load_repository("basic"), load_repository("rmd160")
    certificate = basic_repository.keys.certificate
    listed = Whitelist(
        repository="test.example.org",
        created=datetime(2024, 1, 1, tzinfo=UTC),
        expires=datetime(2024, 2, 1, tzinfo=UTC),
        fingerprints=(LISTED, fingerprint(certificate, algorithm)),
    )
    listed = Whitelist.parse(listed.to_text())
    assert listed.lists(certificate)
    assert not listed.lists(other.keys.certificate)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"20241018120000\n",
        TEXT.replace(b"20241018120000", b"2024101812000"),
        TEXT.replace(b"20241018120000", b"20241318120000"),
        TEXT.replace(b"E20241117", b"F20241117"),
        TEXT.replace(b"Ntest", b"N../test"),
        TEXT.replace(b"Ntest.example.org", b"Ntest.example.org\nVpkcs7"),
        TEXT.replace(b"Ntest.example.org", b"Ntest.example.org\nWcachain"),
        TEXT + b"\xff\n",
    ],
)
def test_what_is_no_whitelist_is_refused(text: bytes) -> None:
    with pytest.raises(FormatError, match=r"whitelist|repository name"):
        Whitelist.parse(text)


def test_a_whitelist_must_be_signed_and_of_reasonable_size() -> None:
    with pytest.raises(SignatureInvalid, match="whitelist without signature"):
        Whitelist.from_bytes(TEXT)
    with pytest.raises(FormatError, match="at most"):
        Whitelist.from_bytes(TEXT * 10_000)
