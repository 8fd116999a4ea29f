"""Requests and answers, on every recorded exchange."""

import json

import pytest

from softman.cvmfs.errors import (
    CvmfsError,
    FormatError,
    GatewayError,
    GatewayRefused,
    GatewayUnavailable,
    LeaseBusy,
    LeaseLost,
)
from softman.cvmfs.gateway.messages import (
    CommitMessage,
    LeaseRequest,
    PayloadMessage,
    check_answer,
    error_of,
    split_lease_path,
    to_answer,
)
from tests.support.exchanges import REPOSITORY, Exchange, exchanges, of

_STOCK = [each for each in exchanges() if each.client == "stock"]


def _posts(where: str) -> list[Exchange]:
    return [each for each in _STOCK if each.method == "POST" and each.path.startswith(where)]


@pytest.mark.parametrize("exchange", _posts("/api/v1/leases/"), ids=str)
def test_commits_are_written_as_stock_publishers_write_them(exchange: Exchange) -> None:
    assert CommitMessage.parse(exchange.body).to_bytes() == exchange.body


@pytest.mark.parametrize("exchange", _posts("/api/v1/payloads"), ids=str)
def test_payload_messages_say_what_stock_publishers_say(exchange: Exchange) -> None:
    message = exchange.body[: int(exchange.headers["message-size"])]
    assert json.loads(PayloadMessage.parse(message).to_bytes()) == json.loads(message)


@pytest.mark.parametrize("exchange", [each for each in _posts("/api/v1/leases") if not each.token], ids=str)
def test_lease_requests_say_what_stock_publishers_say(exchange: Exchange) -> None:
    path, request = LeaseRequest.parse(exchange.body)
    repository, directory = split_lease_path(path)
    ours = LeaseRequest(repository, directory, request.hostname, request.version)
    assert json.loads(ours.to_bytes()) == json.loads(exchange.body)


@pytest.mark.parametrize("exchange", [each for each in exchanges() if each.answer.startswith("{")], ids=str)
def test_answers_are_written_byte_for_byte(exchange: Exchange) -> None:
    assert to_answer(exchange.json).decode() == exchange.answer


@pytest.mark.parametrize("exchange", [each for each in exchanges() if each.status is not None], ids=str)
def test_answers_are_errors_exactly_when_something_was_not_done(exchange: Exchange) -> None:
    assert exchange.status is not None
    done = exchange.status == 200 and exchange.json.get("status", "ok") == "ok"
    try:
        fields = check_answer(exchange.status, exchange.answer.encode())
    except GatewayError:
        assert not done
    else:
        assert done
        assert fields == exchange.json


def _raised(exchange: Exchange) -> CvmfsError:
    with pytest.raises(GatewayError) as caught:
        check_answer(exchange.status or 0, exchange.answer.encode())
    return caught.value


def test_what_errors_mean() -> None:
    busy = _raised(of("04-path-busy")[0])
    assert isinstance(busy, LeaseBusy)
    assert 7190 < busy.seconds < 7200
    assert [type(_raised(each)) for each in of("09-invalid-keys")[:5]] == [GatewayRefused] * 5
    assert type(_raised(of("20-lease-expired")[4])) is LeaseLost
    assert type(_raised(of("10-drop")[5])) is LeaseLost  # HTTP status 500, as text
    assert type(_raised(of("17-commit-unknown-root")[1])) is GatewayUnavailable  # it may have been done
    assert type(_raised(of("18-admin")[3])) is GatewayUnavailable  # a repository that is switched off
    assert type(_raised(of("16-bad-requests")[3])) is GatewayRefused  # HTTP status 400
    assert error_of("merge_error") is GatewayError
    assert error_of("a reason of the future") is GatewayError


@pytest.mark.parametrize("body", [b"", b"welcome", b"[1]", b'"ok"', b"\xff", b"{" * 60_000, b"[" * 60_000])
def test_an_answer_that_is_none_says_nothing(body: bytes) -> None:
    with pytest.raises(GatewayUnavailable):
        check_answer(200, body)


def test_a_busy_path_without_a_time_is_busy() -> None:
    with pytest.raises(LeaseBusy) as caught:
        check_answer(200, b'{"status":"path_busy","time_remaining":17}')
    assert caught.value.seconds == 0.0


@pytest.mark.parametrize("number", range(4, 7))
def test_lease_requests_that_the_official_gateway_cannot_read(number: int) -> None:
    exchange = of("16-bad-requests")[number - 1]
    assert exchange.status == 400
    with pytest.raises(FormatError):
        LeaseRequest.parse(exchange.body)


def test_lease_paths() -> None:
    assert split_lease_path(f"{REPOSITORY}/") == (REPOSITORY, "")
    assert split_lease_path(f"{REPOSITORY}/sub/one") == (REPOSITORY, "sub/one")
    for path in ("/a.example.org/x", "a.example.org", ""):
        with pytest.raises(GatewayRefused):
            split_lease_path(path)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"old_root_hash":"zz","new_root_hash":"zz"}',
        b'{"old_root_hash":7,"new_root_hash":7}',
        b'{"old_root_hash":"%s","new_root_hash":"%s","tag_channel":"x"}' % (b"a" * 40, b"b" * 40),
        b'{"old_root_hash":"%s","new_root_hash":"%s","tag_name":1}' % (b"a" * 40, b"b" * 40),
    ],
)
def test_commits_that_say_nothing_are_refused(body: bytes) -> None:
    with pytest.raises(FormatError):
        CommitMessage.parse(body)


@pytest.mark.parametrize("size", ["", "x", "-1", "1e3", "٣", "9" * 30])
def test_a_header_size_that_is_no_number_is_refused(size: str) -> None:
    with pytest.raises(FormatError):
        PayloadMessage.parse(json.dumps({"session_token": "t", "payload_digest": "d", "header_size": size}).encode())
