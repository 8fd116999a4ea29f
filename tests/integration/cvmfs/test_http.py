"""Reading over real HTTP: servers that fail, lie, encode, redirect or stop in the middle, and proxies."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from softman.cvmfs.errors import FormatError, ObjectMissing, StoreError, StoreUnavailable, TooLarge
from softman.cvmfs.fetch import ObjectFetcher
from softman.cvmfs.format.hashes import ObjectKind, hash_bytes
from softman.cvmfs.format.objects import compress
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.store import open_store
from softman.cvmfs.store.http import HttpStore
from tests.support.archives import unpack
from tests.support.serving import served, serving

DATA = Path(__file__).parents[2] / "data" / "cvmfs" / "basic"
CONTENT = bytes(range(256)) * 4000
STORED = compress(CONTENT)
OBJECT = hash_bytes(STORED)
NAME = OBJECT.object_path(ObjectKind.FILE)

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A web server that does what ``answers`` says, the last of them for ever; it ends with ``running``."""

    def __init__(self, running: ExitStack, *answers: Answer) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._answers = list(answers)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append((self.command, self.path, dict(self.headers)))
                answer = outer._answers[0] if len(outer._answers) == 1 else outer._answers.pop(0)
                answer(self)

            do_HEAD = do_GET  # noqa: N815 - the base class asks for this name

            def log_message(self, *_args: object) -> None:
                """Nothing on the terminal."""

        self.url = running.enter_context(serving(Handler))


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with ExitStack() as running:
        yield lambda *answers: Server(running, *answers)


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


def body(data: bytes, *, announced: int | None = None, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data) if announced is None else announced))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(data)
        if announced is not None:
            handler.close_connection = True

    return answer


def quick(*urls: str, attempts: int = 2) -> HttpStore:
    return HttpStore(urls, attempts=attempts, connect_timeout=5, read_timeout=5)


def test_a_whole_repository_is_read_over_http(tmp_path: Path) -> None:
    unpack(DATA / "repo.tar.gz", tmp_path)
    key = (DATA / "keys" / "basic.example.org.pub").read_bytes()
    now = datetime(2026, 11, 22, 10, 36, 48, tzinfo=UTC)
    with served(tmp_path) as url:
        store = open_store(f"{url}/basic.example.org")
        with RepositoryReader(store, "basic.example.org", [key], now=lambda: now).snapshot() as snapshot:
            entries = list(snapshot.walk())
            sizes = {e.path: sum(map(len, snapshot.read_entry(e))) for e in entries if e.is_file}
    assert len(entries) == 228
    assert sizes == {e.path: e.size for e in entries if e.is_file}


def test_faults_that_pass_are_tried_again(serve: Callable[..., Server]) -> None:
    server = serve(status(503), status(500), body(b"manifest"))
    assert quick(server.url, attempts=3).get(".cvmfspublished", max_size=100) == b"manifest"
    assert len(server.requests) == 3


def test_a_server_that_keeps_failing_is_unavailable(serve: Callable[..., Server]) -> None:
    server = serve(status(503, Retry_After="3600"))
    with pytest.raises(StoreUnavailable, match="answers 503"):
        quick(server.url).get(".cvmfspublished", max_size=100)
    assert len(server.requests) == 2


def test_a_server_that_does_not_exist_is_unavailable() -> None:
    with ExitStack() as running:
        gone = Server(running, status(200))
    with pytest.raises(StoreUnavailable):
        quick(gone.url).exists(NAME)


def test_the_next_server_is_asked_and_kept(serve: Callable[..., Server]) -> None:
    bad, good = serve(status(500)), serve(body(b"manifest"))
    store = quick(bad.url, good.url + "/", attempts=1)
    for _ in range(3):
        assert store.get(".cvmfspublished", max_size=100) == b"manifest"
    assert (len(bad.requests), len(good.requests)) == (1, 3)
    assert good.requests[0][1] == "/.cvmfspublished"


def test_a_file_is_missing_only_when_every_server_says_so(serve: Callable[..., Server]) -> None:
    without, other, broken = serve(status(404)), serve(status(410)), serve(status(502))
    has = serve(body(b"here"))
    assert quick(without.url, has.url).get(NAME, max_size=10) == b"here"
    with pytest.raises(ObjectMissing):
        quick(without.url, other.url).get(NAME, max_size=10)
    with pytest.raises(StoreUnavailable):
        quick(without.url, broken.url, attempts=1).get(NAME, max_size=10)


def test_a_refusal_is_neither_missing_nor_passing(serve: Callable[..., Server]) -> None:
    with pytest.raises(StoreError, match="answers 403") as caught:
        quick(serve(status(403)).url).get(NAME, max_size=10)
    assert not isinstance(caught.value, ObjectMissing | StoreUnavailable)


def test_what_an_object_store_does_not_show_is_missing(serve: Callable[..., Server]) -> None:
    server = serve(status(403, X_Amz_Request_Id="tx0"))
    with pytest.raises(ObjectMissing, match="403 of an object store"):
        quick(server.url).get(NAME, max_size=10)
    assert not quick(server.url).exists(NAME)


def test_encoded_content_is_neither_asked_for_nor_accepted(serve: Callable[..., Server]) -> None:
    server = serve(body(gzip.compress(b"manifest"), Content_Encoding="gzip"))
    with pytest.raises(StoreError, match="encodes content"):
        quick(server.url).get(".cvmfspublished", max_size=100)
    assert server.requests[0][2]["Accept-Encoding"] == "identity"


def test_a_body_that_is_too_long_is_not_read_to_its_end(serve: Callable[..., Server]) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        try:
            while True:
                handler.wfile.write(bytes(65536))
        except OSError:
            stopped.set()

    stopped = threading.Event()
    with pytest.raises(TooLarge):
        quick(serve(endless).url).get(".cvmfspublished", max_size=100)
    assert stopped.wait(60)


def test_a_body_cut_short_is_noticed(serve: Callable[..., Server]) -> None:
    server = serve(body(STORED[:1000], announced=len(STORED)))
    with pytest.raises(StoreUnavailable, match="connection broke"):
        quick(server.url).get(NAME, max_size=len(STORED))


def test_an_object_whose_transfer_broke_is_fetched_once_more(serve: Callable[..., Server], tmp_path: Path) -> None:
    broken = body(STORED[:1000], announced=len(STORED))
    server = serve(broken, body(STORED))
    fetcher = ObjectFetcher(quick(server.url), work_dir=tmp_path)
    assert b"".join(fetcher.content(OBJECT, ObjectKind.FILE, size=len(CONTENT))) == CONTENT
    with pytest.raises(StoreUnavailable):
        list(ObjectFetcher(quick(serve(broken).url)).content(OBJECT, ObjectKind.FILE, size=len(CONTENT)))


def test_an_object_whose_transfer_broke_is_fetched_from_the_next_server(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    bad, good = serve(body(STORED[:1000], announced=len(STORED))), serve(body(STORED))
    store = quick(bad.url, good.url)
    for _ in range(2):
        fetcher = ObjectFetcher(store, work_dir=tmp_path)
        assert b"".join(fetcher.content(OBJECT, ObjectKind.FILE, size=len(CONTENT))) == CONTENT
    assert (len(bad.requests), len(good.requests)) == (1, 2)


def test_nothing_asks_for_a_part_of_a_file(serve: Callable[..., Server]) -> None:
    server = serve(body(STORED))
    store = quick(server.url)
    with store.open(NAME) as file:
        file.read(10)
    store.get(NAME, max_size=len(STORED))
    store.exists(NAME)
    assert len(server.requests) == 3
    assert not any("range" in map(str.lower, headers.keys()) for _, _, headers in server.requests)


def test_redirects_are_followed_but_not_for_ever(serve: Callable[..., Server]) -> None:
    target = serve(body(b"manifest"))
    hop = serve(status(302, Location=f"{target.url}/.cvmfspublished"))
    assert quick(hop.url).get(".cvmfspublished", max_size=100) == b"manifest"
    loop = serve(status(302, Location="/.cvmfspublished"))
    with pytest.raises(StoreUnavailable):
        quick(loop.url).get(".cvmfspublished", max_size=100)
    assert len(loop.requests) <= 5


def test_manifest_and_whitelist_are_asked_for_afresh(serve: Callable[..., Server]) -> None:
    server = serve(body(b"x"))
    store = quick(server.url)
    store.get(".cvmfspublished", max_size=10)
    store.get(NAME, max_size=10)
    assert [headers.get("Cache-Control") for _, _, headers in server.requests] == ["no-cache", None]


def test_a_proxy_of_the_environment_is_used(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(body(b"by proxy"))
    monkeypatch.setenv("http_proxy", proxy.url)
    store = quick("http://repository.example.invalid/cvmfs/test.example.org")
    assert store.get(".cvmfspublished", max_size=10) == b"by proxy"
    assert proxy.requests[0][1] == "http://repository.example.invalid/cvmfs/test.example.org/.cvmfspublished"
    direct = serve(body(b"direct"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert quick(direct.url).get(".cvmfspublished", max_size=10) == b"direct"


@pytest.mark.parametrize("url", ["ftp://example.org/x", "http://", "file:///x", "http://h/x?y", "http://h/x#y", "h/x"])
def test_only_web_addresses_are_taken(url: str) -> None:
    with pytest.raises(FormatError):
        HttpStore([url])


def test_an_address_is_needed() -> None:
    with pytest.raises(FormatError, match="no address"):
        HttpStore([])
