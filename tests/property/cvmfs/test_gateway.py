"""The gateway's messages and packs: what is written is read again; what is not is refused with our errors."""

import contextlib
import io

from hypothesis import given
from hypothesis import strategies as st

from softman.cvmfs.errors import CvmfsError, GatewayError
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, ObjectKind, hash_bytes
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.gateway.authorization import Authorization, authorization
from softman.cvmfs.gateway.gotime import format_duration, parse_duration
from softman.cvmfs.gateway.messages import (
    CommitMessage,
    LeaseRequest,
    PayloadMessage,
    check_answer,
    split_lease_path,
    to_answer,
)
from softman.cvmfs.gateway.packs import (
    PackedObject,
    header_digest,
    pack_header,
    parse_header,
    read_header,
    read_objects,
)

_hashes = st.builds(ContentHash, st.binary(min_size=20, max_size=20), st.sampled_from(HashAlgorithm))
_kinds = st.sampled_from([ObjectKind.FILE, ObjectKind.CHUNK, ObjectKind.CATALOG])
_words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=20)
_text = st.text(st.characters(codec="utf-8"), max_size=40)


@given(st.lists(st.tuples(st.binary(max_size=300), _kinds, st.sampled_from(HashAlgorithm)), max_size=12), st.data())
def test_packs_come_out_as_they_went_in(
    contents: list[tuple[bytes, ObjectKind, HashAlgorithm]], data: st.DataObject
) -> None:
    objects = [PackedObject(hash_bytes(body, algorithm), kind, len(body)) for body, kind, algorithm in contents]
    header = pack_header(objects)
    assert parse_header(header) == objects
    stream = io.BytesIO(header + b"".join(body for body, _, _ in contents))
    most = data.draw(st.integers(1, 500))

    def read(size: int) -> bytes:
        return stream.read(min(size, most))

    listed = read_header(read, len(header), header_digest(header))
    assert [b"".join(pieces) for _, pieces in read_objects(read, listed)] == [body for body, _, _ in contents]


@given(st.lists(st.tuples(_hashes, _kinds, st.integers(0, 1000)), min_size=1, max_size=5), st.data())
def test_a_damaged_header_is_refused_or_says_something_else(
    objects: list[tuple[ContentHash, ObjectKind, int]], data: st.DataObject
) -> None:
    listed = [PackedObject(*item) for item in objects]
    header = bytearray(pack_header(listed))
    header[data.draw(st.integers(0, len(header) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(CvmfsError):
        assert parse_header(bytes(header)) != listed


@given(st.binary(max_size=200))
def test_whatever_comes_is_refused_with_our_errors(body: bytes) -> None:
    for read in (parse_header, LeaseRequest.parse, CommitMessage.parse, PayloadMessage.parse):
        with contextlib.suppress(CvmfsError):
            read(body)
    for status in (200, 404, 500):
        with contextlib.suppress(GatewayError):
            check_answer(status, body)
    with contextlib.suppress(CvmfsError):
        Authorization.parse(body.decode("latin-1"))


@given(_words, _text.filter(lambda text: "/" not in text), _text)
def test_lease_requests_come_out_as_they_went_in(repository: str, path: str, hostname: str) -> None:
    sent, request = LeaseRequest.parse(LeaseRequest(repository, path, hostname).to_bytes())
    assert (*split_lease_path(sent), request.hostname) == (repository, path, hostname)


@given(_hashes, _hashes, _text, _text, st.integers(0, 9))
def test_commits_come_out_as_they_went_in(old: ContentHash, new: ContentHash, tag: str, why: str, channel: int) -> None:
    message = CommitMessage(old, new, tag, channel, why)
    assert CommitMessage.parse(message.to_bytes()) == message


@given(st.dictionaries(_words.filter(lambda name: name != "status"), _text))
def test_answers_come_out_as_they_went_in(fields: dict[str, str]) -> None:
    body = to_answer({**fields, "status": "ok"})
    assert check_answer(200, body) == {**fields, "status": "ok"}
    assert not set(body) & set(b"<>&")


@given(_words, _words, st.binary(max_size=100), st.binary(max_size=100))
def test_a_proof_is_for_what_was_signed(key_id: str, secret: str, signed: bytes, other: bytes) -> None:
    key = GatewayKey(key_id, secret)
    claim = Authorization.parse(authorization(key, signed))
    assert claim.proves(key, signed)
    assert claim.proves(key, other) == (signed == other)


@given(st.integers(0, 10**15))
def test_durations_come_out_as_they_went_in(nanoseconds: int) -> None:
    assert abs(parse_duration(format_duration(nanoseconds / 1e9)) - nanoseconds / 1e9) < 1e-6
