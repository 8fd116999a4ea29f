"""Object packs: the recorded ones, and hostile ones."""

import io
from collections.abc import Callable
from itertools import pairwise

import pytest

from softman.cvmfs.errors import CvmfsError, FormatError, HashMismatch, TooLarge
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes
from softman.cvmfs.gateway.messages import PayloadMessage
from softman.cvmfs.gateway.packs import (
    MAX_OBJECT,
    MAX_OBJECTS,
    PackedObject,
    header_digest,
    pack_header,
    parse_header,
    read_header,
    read_objects,
    split,
)
from tests.support.exchanges import Exchange, exchanges, of

_STOCK = [each for each in exchanges() if each.client == "stock" and each.path.startswith("/api/v1/payloads")]
_EMPTY = bytes.fromhex("789c030000000001")
_HELLO = bytes.fromhex("789ccb48cdc9c9e70200084b021f")


def _packed(content: bytes, kind: ObjectKind = ObjectKind.FILE) -> PackedObject:
    return PackedObject(hash_bytes(content), kind, len(content))


def _take(read: Callable[[int], bytes], message: PayloadMessage) -> dict[str, bytes]:
    objects = read_header(read, message.header_size, message.payload_digest)
    found = {}
    for item, pieces in read_objects(read, objects):
        found[f"{item.hash}{item.kind.value}"] = b"".join(pieces)
    return found


def _payload(exchange: Exchange) -> tuple[PayloadMessage, bytes]:
    size = int(exchange.headers["message-size"])
    return PayloadMessage.parse(exchange.body[:size]), exchange.body[size:]


@pytest.mark.parametrize("exchange", _STOCK, ids=str)
def test_packs_of_stock_publishers(exchange: Exchange) -> None:
    message, pack = _payload(exchange)
    found = _take(io.BytesIO(pack).read, message)
    assert found
    for name, content in found.items():
        assert name.startswith(str(hash_bytes(content)))
    header = pack[: message.header_size]
    assert pack_header(parse_header(header)) == header


def test_the_vector_of_the_format_reference() -> None:
    header = pack_header([_packed(_EMPTY), _packed(_HELLO, ObjectKind.CHUNK)])
    assert (len(header), header_digest(header)) == (105, "b27db07976204252ea05ee2ae111582db455c80d")
    message = PayloadMessage("TOKEN====", header_digest(header), len(header)).to_bytes()
    assert len(message) == 127


@pytest.mark.parametrize("scenario", ["17-payload-bad-digest", "17-payload-bad-header-size"])
def test_packs_that_the_official_gateway_drops_in_silence_are_refused(scenario: str) -> None:
    message, pack = _payload(of(scenario)[1])
    with pytest.raises(HashMismatch):
        _take(io.BytesIO(pack).read, message)


def test_an_object_that_is_not_what_it_is_named_by() -> None:
    message, pack = _payload(of("17-payload-bad-object")[1])
    with pytest.raises(HashMismatch, match="has the hash"):
        _take(io.BytesIO(pack).read, message)


def test_a_pack_that_ends_early() -> None:
    message, pack = _payload(of("17-payload-short")[1])
    with pytest.raises(FormatError, match="5 of 38 bytes are missing"):
        _take(io.BytesIO(pack).read, message)


def test_a_pack_that_goes_on() -> None:
    header = pack_header([_packed(_HELLO)])
    message = PayloadMessage("", header_digest(header), len(header))
    assert _take(io.BytesIO(header + _HELLO).read, message) == {str(hash_bytes(_HELLO)): _HELLO}
    with pytest.raises(FormatError, match="behind its last object"):
        _take(io.BytesIO(header + _HELLO + b"!").read, message)


_LINE = f"C {hash_bytes(_HELLO)} 14"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "V2",
        "V2\nS14\nN1\n--\n",
        f"V2\nS14\nN1\n--\n{_LINE}",
        f"V1\nS14\nN1\n--\n{_LINE}\n",
        f"V2\nS15\nN1\n--\n{_LINE}\n",
        f"V2\nS14\nN2\n--\n{_LINE}\n",
        f"V2\nS14\nN1\n--\n{_LINE}\n{_LINE}\n",
        f"V2\nS-14\nN1\n--\n{_LINE}\n",
        f"V2\nN1\nS14\n--\n{_LINE}\n",
        "V2\nS14\nN1\n--\nC zz 14\n",
        f"V2\nS14\nN1\n--\n{_LINE.replace(' 14', ' 1_4')}\n",
        f"V2\nS14\nN1\n--\n{_LINE.replace('C ', 'D ')}\n",
        f"V2\nS14\nN1\n--\n{_LINE.replace(' 14', '  14')}\n",
        f"V2\nS14\nN1\n--\n{_LINE.replace(' 14', 'X 14')}\n",
        f"V2\nS14\nN1\n--\n{_LINE.replace(' 14', 'H 14')}\n",
        "V2\nS14\nN1\n--\nC ../../.cvmfspublished 14\n",
        f"V2\nS14\nN1\n--\n{_LINE} {'x' * 100}\n",
        f"V2\nS14\nN1\n--\nN {hash_bytes(_HELLO)} 14 Li4vLi4vZXRjL3Bhc3N3ZA==\n",
    ],
)
def test_headers_that_lie_or_play_tricks(header: str) -> None:
    with pytest.raises(FormatError):
        parse_header(header.encode())


def test_headers_of_more_than_a_pack_may_hold() -> None:
    with pytest.raises(TooLarge):
        parse_header(f"V2\nS0\nN{MAX_OBJECTS + 1}\n--\n".encode())
    with pytest.raises(TooLarge):
        parse_header(pack_header([PackedObject(hash_bytes(b""), ObjectKind.FILE, MAX_OBJECT + 1)]))
    with pytest.raises(TooLarge):
        read_header(lambda size: b"C" * size, 10**12, "")


def test_an_endless_header_is_not_read() -> None:
    asked = []

    def endless(size: int) -> bytes:
        asked.append(size)
        return b"C" * size

    with pytest.raises(CvmfsError):
        read_header(endless, 5_000_000, "")
    assert sum(asked) == 5_000_000


def test_an_object_that_nobody_reads_is_passed_over_and_checked() -> None:
    header = pack_header([_packed(_EMPTY), _packed(_HELLO)])
    objects = parse_header(header)
    found = [str(item.hash) for item, _ in read_objects(io.BytesIO(_EMPTY + _HELLO).read, objects)]
    assert len(found) == 2
    with pytest.raises(HashMismatch):
        list(read_objects(io.BytesIO(_EMPTY + b"!" * 14).read, objects))


def test_memory_stays_bounded() -> None:
    largest = 0
    item = PackedObject(ContentHash(b"\0" * 20), ObjectKind.FILE, 64 * 1024 * 1024)

    def read(size: int) -> bytes:
        nonlocal largest
        largest = max(largest, size)
        return bytes(size)

    with pytest.raises(HashMismatch):
        list(read_objects(read, [item]))
    assert largest <= 1024 * 1024


def test_packs_are_split_where_stock_publishers_split_them() -> None:
    objects = [PackedObject(hash_bytes(bytes([n])), ObjectKind.FILE, n * 10) for n in range(1, 30)]
    packs = list(split(objects, max_bytes=200))
    assert [item for pack in packs for item in pack] == objects
    sizes = [sum(item.size for item in pack) for pack in packs]
    assert all(size <= 200 or len(pack) == 1 for size, pack in zip(sizes, packs, strict=True))
    assert all(size + following[0].size > 200 for size, (_, following) in zip(sizes, pairwise(packs), strict=False))
    assert list(split([])) == []
    many = [objects[0]] * (MAX_OBJECTS + 1)
    assert [len(pack) for pack in split(many)] == [MAX_OBJECTS, 1]
