"""What is written is read again; what is malformed raises an error of ours and nothing else."""

import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from softman.cvmfs.errors import CvmfsError, FormatError, TooLarge
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, ObjectKind, hash_bytes
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import (
    MAX_LEVEL,
    Compressor,
    compress,
    compress_stock,
    compressed_bound,
    decompress,
    inflate,
)
from softman.cvmfs.format.whitelist import Whitelist
from softman.cvmfs.store import MemoryStore, check_name
from softman.cvmfs.verify import verify_certificate, verify_manifest, verify_whitelist

DATA = Path(__file__).parents[2] / "data" / "cvmfs" / "basic"
MANIFEST = (DATA / "manifests" / "step-22.cvmfspublished").read_bytes()
PUBLIC_KEY = (DATA / "keys" / "basic.example.org.pub").read_bytes()
CERTIFICATE = (DATA / "keys" / "basic.example.org.crt").read_bytes()
NOW = datetime(2026, 11, 22, 11, tzinfo=UTC)

fixed = settings(derandomize=True, deadline=None, max_examples=200)
hashes = st.builds(ContentHash, st.binary(min_size=20, max_size=20), st.sampled_from(HashAlgorithm))
numbers = st.integers(0, 10**18 - 1)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}(\.[A-Za-z0-9_-]{1,12}){0,2}", fullmatch=True)
times = st.datetimes(datetime(1970, 1, 1), datetime(2999, 1, 1)).map(lambda t: t.replace(tzinfo=UTC, microsecond=0))  # noqa: DTZ001
# A short pattern and how often it is repeated: long content with a short description.
patterns = st.tuples(st.binary(max_size=500), st.integers(0, 3000))
manifests = st.builds(
    Manifest,
    root_hash=hashes,
    root_size=numbers,
    ttl=numbers,
    revision=numbers,
    repository=names,
    certificate=hashes,
    published_at=numbers,
    garbage_collectable=st.booleans(),
    alternative_path=st.booleans(),
    history=st.none() | hashes,
    metainfo=st.none() | hashes,
    reflog=st.none() | hashes,
)


@fixed
@given(manifests)
def test_a_manifest_is_read_as_it_was_written(manifest: Manifest) -> None:
    assert Manifest.parse(manifest.to_text()) == manifest


@fixed
@given(names, times, st.integers(0, 10**6), st.lists(hashes, max_size=5))
def test_a_whitelist_is_read_as_it_was_written(
    name: str, created: datetime, seconds: int, listed: list[ContentHash]
) -> None:
    whitelist = Whitelist(
        repository=name,
        created=created,
        expires=created + timedelta(seconds=seconds),
        fingerprints=tuple(listed),
    )
    assert Whitelist.parse(whitelist.to_text()) == whitelist


@fixed
@given(patterns, st.integers(0, MAX_LEVEL), st.integers(100, 50_000))
def test_content_survives_compression(pattern: tuple[bytes, int], level: int, step: int) -> None:
    content = pattern[0] * pattern[1]
    compressor = Compressor(level)
    pieces = [compressor.update(content[i : i + step]) for i in range(0, len(content), step)]
    stored = b"".join(pieces) + compressor.finish()
    assert len(stored) <= compressed_bound(len(content))
    assert zlib.decompress(stored) == content
    stored_pieces = [stored[i : i + step] for i in range(0, len(stored), step)]
    assert b"".join(inflate(stored_pieces, max_size=len(content))) == content
    assert decompress(compress_stock(content), max_size=len(content)) == content


@fixed
@given(patterns, st.integers(0, 1_000_000))
def test_inflating_never_gives_more_than_allowed(pattern: tuple[bytes, int], allowed: int) -> None:
    content = pattern[0] * pattern[1]
    found: list[bytes] = []
    try:
        found.extend(inflate([compress(content)], max_size=allowed))
    except TooLarge:
        assert len(content) > allowed
    else:
        assert b"".join(found) == content
    assert len(b"".join(found)) <= allowed


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """``original`` with some bytes changed, removed or added."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 20))
        data[start : start + length] = draw(st.binary(max_size=20))
    return bytes(data)


@fixed
@given(damaged(compress(bytes(range(256)) * 20)), st.integers(1, 200))
def test_a_damaged_object_never_raises_anything_foreign(stored: bytes, step: int) -> None:
    pieces = [stored[i : i + step] for i in range(0, len(stored), step)]
    try:
        by_engine: bytes | None = b"".join(inflate(pieces, max_size=100_000))
    except CvmfsError:
        by_engine = None
    try:
        by_zlib: bytes | None = decompress(stored, max_size=100_000)
    except CvmfsError:
        by_zlib = None
    assert by_engine == by_zlib  # both engines accept the same streams


@fixed
@given(st.one_of(st.binary(max_size=600), damaged(MANIFEST)))
def test_a_malformed_manifest_raises_only_our_errors(data: bytes) -> None:
    try:
        verify_manifest(data, b"", compress_stock(CERTIFICATE), [PUBLIC_KEY], repository="basic.example.org", now=NOW)
    except CvmfsError:
        return
    raise AssertionError("nothing damaged may be believed")


@fixed
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_malformed_whitelists_and_certificates_raise_only_our_errors(data: bytes, key: bytes) -> None:
    for attempt in (
        lambda: verify_whitelist(data, [PUBLIC_KEY, key], "basic.example.org", NOW),
        lambda: verify_certificate(compress_stock(data), hash_bytes(compress_stock(data))),
        lambda: verify_certificate(data, hash_bytes(data)),
    ):
        try:
            attempt()
        except CvmfsError:
            continue
        raise AssertionError("nothing malformed may be believed")


@fixed
@given(hashes, st.sampled_from(ObjectKind))
def test_every_object_has_a_name_that_stores_take(content: ContentHash, kind: ObjectKind) -> None:
    name = content.object_path(kind)
    assert check_name(name) == name


@fixed
@given(st.text(alphabet="./abf0\0dtx-_\\C", max_size=60))
def test_no_name_leads_out_of_a_store(name: str) -> None:
    try:
        check_name(name)
    except FormatError:
        return
    inside = Path("/root/of/store")
    assert (inside / name).resolve().is_relative_to(inside)
    assert "\0" not in name
    assert MemoryStore({name: b"x"}).get(name, max_size=1) == b"x"


@fixed
@given(st.text(max_size=80))
def test_gateway_keys_are_two_words_or_refused(text: str) -> None:
    try:
        key = GatewayKey.parse("plain_text " + text)
    except FormatError:
        assert len(text.split()) != 2
    else:
        assert GatewayKey.parse(key.to_text()) == key
