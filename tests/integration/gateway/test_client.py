"""Our publisher's side, against a server that gives the recorded answers, and against one that misbehaves."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from softman.cvmfs.areas import DirectoryArea, new_transaction_id, staged_name
from softman.cvmfs.errors import (
    FormatError,
    GatewayError,
    GatewayRefused,
    GatewayUnavailable,
    LeaseBusy,
    LeaseLost,
)
from softman.cvmfs.format.hashes import ObjectKind, hash_bytes
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.gateway.authorization import Authorization
from softman.cvmfs.gateway.client import GatewayClient, GatewayLease
from softman.cvmfs.gateway.messages import CommitMessage, PayloadMessage
from softman.cvmfs.gateway.packs import PackedObject, read_header, read_objects
from softman.cvmfs.gateway.sending import send_staged
from tests.support.exchanges import REPOSITORY, keys, of

_KEY = keys()["rootkey"]


@dataclass
class Script:
    """Answers to give in turn, and what came. An answer of None closes the connection."""

    answers: list[tuple[int, bytes] | None]
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def playing(*answers: tuple[int, str] | None) -> Iterator[tuple[str, Script]]:
    """A server that follows a script."""
    script = Script([None if item is None else (item[0], item[1].encode()) for item in answers])

    class Handler(BaseHTTPRequestHandler):
        def _play(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            script.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            answer = script.answers.pop(0)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

        do_GET = do_POST = do_DELETE = _play  # noqa: N815 - the names that the class wants

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/api/v1", script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answers(scenario: str, *numbers: int) -> list[tuple[int, str] | None]:
    found: list[tuple[int, str] | None] = []
    for each in of(scenario):
        if each.number in numbers:
            assert each.status is not None
            found.append((each.status, each.answer))
    return found


_OK = (200, '{"status":"ok"}')
_LEASED = _answers("02-transaction-root", 1)[0]


def _sent(content: bytes, kind: ObjectKind = ObjectKind.FILE) -> PackedObject:
    return PackedObject(hash_bytes(content), kind, len(content))


class _Opener(dict[PackedObject, bytes]):
    def __call__(self, item: PackedObject) -> io.BytesIO:
        return io.BytesIO(self[item])


def test_a_publication_as_a_stock_publisher_makes_it() -> None:
    root = of("02-transaction-root") + of("05-publish-root")
    with playing(*[(200, each.answer) for each in root]) as (url, script):
        client = GatewayClient(url, _KEY, hostname="vm")
        with client.acquire(REPOSITORY) as lease:
            for each in root[1:3]:
                stream = io.BytesIO(each.body)
                message = PayloadMessage.parse(stream.read(int(each.headers["message-size"])))
                listed = read_header(stream.read, message.header_size, message.payload_digest)
                objects = {item: b"".join(pieces) for item, pieces in read_objects(stream.read, listed)}
                lease.send(listed, _Opener(objects))
            wish = CommitMessage.parse(root[3].body)
            assert lease.commit(wish.old_root, wish.new_root, tag="v1", description="first") == 2
    assert [(method, path) for method, path, _, _ in script.seen] == [(each.method, each.path) for each in root]
    for (_, _, headers, body), each in zip(script.seen, root, strict=True):
        ours = Authorization.parse(headers["authorization"])
        token = each.token.encode()
        size = int(headers.get("message-size", "0"))
        assert ours.proves(_KEY, token or (body[:size] if size else body))
        assert body[size:] == each.body[int(each.headers.get("message-size", "0")) :] or not size
    assert json.loads(script.seen[0][3]) == json.loads(root[0].body)
    assert script.seen[3][3] == root[3].body


def test_a_lease_that_is_not_committed_is_given_back() -> None:
    with playing(_LEASED, _OK) as (url, script), GatewayClient(url, _KEY).acquire(REPOSITORY, "/sub/one/"):
        pass
    assert script.seen[1][0] == "DELETE"
    assert json.loads(script.seen[0][3])["path"] == f"{REPOSITORY}/sub/one"


def test_a_lease_that_cannot_be_given_back_hides_no_error() -> None:
    with (
        playing(_LEASED, None) as (url, _),
        pytest.raises(KeyError, match="mine"),
        GatewayClient(url, _KEY).acquire(REPOSITORY),
    ):
        raise KeyError("mine")


def test_a_busy_path_is_waited_for() -> None:
    waited: list[float] = []
    busy = _answers("04-path-busy", 1)[0]
    with playing(busy, busy, _LEASED) as (url, _):
        client = GatewayClient(url, _KEY, sleep=waited.append)
        assert isinstance(client.acquire(REPOSITORY, wait=100), GatewayLease)
    assert len(waited) == 2
    assert 0 < waited[0] < 1 < waited[1] * 2


def test_no_longer_than_the_lease_of_the_other_lasts() -> None:
    waited: list[float] = []
    soon = (200, '{"status":"path_busy","time_remaining":"90ms"}')
    with playing(soon, _LEASED) as (url, _):
        GatewayClient(url, _KEY, sleep=waited.append).acquire(REPOSITORY, wait=100)
    assert waited == [pytest.approx(0.09)]


def test_a_path_that_stays_busy() -> None:
    with playing(*_answers("04-path-busy", 1)) as (url, _), pytest.raises(LeaseBusy) as caught:
        GatewayClient(url, _KEY).acquire(REPOSITORY)
    assert 7190 < caught.value.seconds < 7200


@pytest.mark.parametrize("number", range(1, 6))
def test_keys_that_are_not_accepted(number: int) -> None:
    with playing(*_answers("09-invalid-keys", number)) as (url, _), pytest.raises(GatewayRefused) as caught:
        GatewayClient(url, _KEY).acquire(REPOSITORY)
    assert _KEY.secret not in str(caught.value)


def test_an_expired_lease() -> None:
    answers = [_LEASED, *_answers("20-lease-expired", 4, 5), *_answers("21-expired-commit", 3)]
    with playing(*answers) as (url, _):
        lease = GatewayClient(url, _KEY).acquire(REPOSITORY)
        assert not lease.is_held()
        with pytest.raises(LeaseLost):
            lease.send([_sent(b"x")], lambda _: io.BytesIO(b"x"))
        with pytest.raises(LeaseLost):
            lease.commit(hash_bytes(b"a"), hash_bytes(b"b"))


def test_a_pack_that_breaks_off_is_sent_again() -> None:
    with playing(_LEASED, None, _OK) as (url, script):
        GatewayClient(url, _KEY).acquire(REPOSITORY).send([_sent(b"x")], lambda _: io.BytesIO(b"x"))
    assert script.seen[1][3] == script.seen[2][3]


def test_a_commit_without_an_answer_is_not_sent_again() -> None:
    with playing(_LEASED, None) as (url, script):
        lease = GatewayClient(url, _KEY).acquire(REPOSITORY)
        with pytest.raises(GatewayUnavailable) as caught:
            lease.commit(hash_bytes(b"a"), hash_bytes(b"b"))
    assert len(script.seen) == 2
    assert _KEY.secret not in str(caught.value)


@pytest.mark.parametrize("answer", [(301, ""), (302, "x"), (500, "oops"), (200, "<html>"), (200, '{"status":"ok"}')])
def test_answers_that_are_none(answer: tuple[int, str]) -> None:
    with playing(answer) as (url, script), pytest.raises(GatewayUnavailable):
        GatewayClient(url, _KEY).acquire(REPOSITORY)
    assert len(script.seen) == 1  # in particular, nothing is sent to where the answer points


def test_an_object_that_is_shorter_than_said() -> None:
    with playing(_LEASED, None) as (url, _):
        lease = GatewayClient(url, _KEY).acquire(REPOSITORY)
        with pytest.raises((FormatError, GatewayError)):
            lease.send([_sent(b"longer")], lambda _: io.BytesIO(b"x"))


def test_nobody_there() -> None:
    with playing() as (url, _):
        pass
    with pytest.raises(GatewayUnavailable, match="gives no answer"):
        GatewayClient(url, GatewayKey("id", "a-secret")).acquire(REPOSITORY)
    with pytest.raises(FormatError):
        GatewayClient("ftp://host/api", _KEY)


def test_a_staging_area_is_sent_with_its_catalogs_last(tmp_path: Path) -> None:
    area = DirectoryArea(tmp_path / new_transaction_id())
    contents = {b"file": ObjectKind.FILE, b"catalog": ObjectKind.CATALOG, b"chunk": ObjectKind.CHUNK}
    for content, kind in contents.items():
        area.keep(staged_name(hash_bytes(content), kind), content)
    (area.directory / ".tmp-1").write_bytes(b"half")
    with playing(_LEASED, _OK) as (url, script):
        send_staged(GatewayClient(url, _KEY).acquire(REPOSITORY), area)
    body = io.BytesIO(script.seen[1][3])
    message = PayloadMessage.parse(body.read(int(script.seen[1][2]["message-size"])))
    listed = read_header(body.read, message.header_size, message.payload_digest)
    found = [(b"".join(pieces), item.kind) for item, pieces in read_objects(body.read, listed)]
    assert dict(found) == contents
    assert found[-1] == (b"catalog", ObjectKind.CATALOG)
