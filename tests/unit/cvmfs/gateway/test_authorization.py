"""The proof of the gateway key, on every recorded request."""

import pytest

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.gateway.authorization import Authorization, authorization
from tests.support.exchanges import Exchange, exchanges, keys

_KEY = GatewayKey("key1", "SECRET1")
_PROVEN = [each for each in exchanges() if each.over is not None]


@pytest.mark.parametrize("exchange", [each for each in _PROVEN if each.matches], ids=str)
def test_proofs_are_those_of_stock_publishers(exchange: Exchange) -> None:
    header = exchange.headers["authorization"]
    key = keys()[header.split(" ")[0]]
    assert authorization(key, exchange.signed) == header
    assert Authorization.parse(header).proves(key, exchange.signed)


@pytest.mark.parametrize("exchange", [each for each in _PROVEN if not each.matches], ids=str)
def test_wrong_proofs_prove_nothing(exchange: Exchange) -> None:
    header = exchange.headers["authorization"]
    try:
        claim = Authorization.parse(header)
    except FormatError:
        return
    assert not any(claim.proves(key, exchange.signed) for key in keys().values())


def test_the_vectors_of_the_format_reference() -> None:
    body = b'{"path":"test.example.org/d","api_version":"2","hostname":"h1"}'
    expected = "key1 NmM0MWFlMDAzMWYxNDZjYzY5ZTBhOTJjNjZhZTMxYTQyMjM1NTE5Yw=="
    assert authorization(_KEY, body) == expected
    token = b"JUN3LGTBPB7YEWXLVLYL4FEDRDKJZ34G7ZDZ5LPD6KEFWMMBQE4A===="
    assert authorization(_KEY, token) == "key1 NTQ3YTU5MzlhYTYzYTJmOGUyMjliOWNjOWVmZWRiMGFkMjY3ZGVlMQ=="


def test_another_key_of_the_same_secret_or_id_proves_nothing() -> None:
    claim = Authorization.parse(authorization(_KEY, b"text"))
    assert claim.proves(_KEY, b"text")
    assert not claim.proves(GatewayKey("key2", "SECRET1"), b"text")
    assert not claim.proves(GatewayKey("key1", "SECRET2"), b"text")
    assert not claim.proves(_KEY, b"texts")


@pytest.mark.parametrize(
    "header", ["", "key1", "key1 ", "key1  YQ==", " YQ==", "key1 YQ", "key1 Y\u00dc==", "a b c", "key1 " + "A" * 2000]
)
def test_what_is_no_authorization_is_refused(header: str) -> None:
    if header == "key1 ":  # an empty proof is one, and proves nothing
        assert not Authorization.parse(header).proves(_KEY, b"")
        return
    with pytest.raises(FormatError):
        Authorization.parse(header)


def test_no_secret_is_shown() -> None:
    assert "SECRET1" not in repr(_KEY)
    assert "6c41ae" not in repr(Authorization.parse(authorization(_KEY, b"x")))
