"""Our client and our gateway, over HTTP: publications, large bodies, and senders that stop in the middle."""

import io
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from softman.cvmfs.areas import DirectoryArea, new_transaction_id
from softman.cvmfs.errors import GatewayError, GatewayRefused, LeaseBusy
from softman.cvmfs.format.hashes import ObjectKind, hash_bytes
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.gateway.client import GatewayClient
from softman.cvmfs.gateway.packs import PackedObject
from softman.cvmfs.gateway.sending import send_staged
from softman.cvmfs.staging import Staging
from softman.cvmfs.transaction import Transaction
from tests.support.exchanges import REPOSITORY, keys
from tests.support.gateway import GatewayBench, access_as_recorded, serving_gateway

_KEY = keys()["rootkey"]


@pytest.fixture
def bench(tmp_path: Path) -> GatewayBench:
    return GatewayBench.of_archive("before.tar.gz", tmp_path, access_as_recorded(keys()))


@pytest.fixture
def url(bench: GatewayBench) -> Iterator[str]:
    with serving_gateway(bench.gateway) as address:
        yield address


def test_a_publication_from_end_to_end(bench: GatewayBench, url: str) -> None:
    client = GatewayClient(url, _KEY)
    area = DirectoryArea(bench.root.parent / new_transaction_id())
    large = bytes(range(256)) * 20_000
    with client.acquire(REPOSITORY, "sub") as lease, bench.reader().snapshot() as base:
        staging = Staging(area)
        with Transaction(base, staging, now=bench.clock) as tx:
            tx.add_file("/sub/large", staging.write_file([large]), 0o644, 1_795_000_000)
            candidate = tx.seal()
        assert candidate is not None
        with pytest.raises(LeaseBusy):
            client.acquire(REPOSITORY, "sub/one")
        send_staged(lease, area)
        assert lease.commit(candidate.base_root_hash, candidate.root_hash, tag="v1") == 2
    with bench.reader().snapshot(tag="v1") as snapshot:
        assert b"".join(snapshot.read_file("/sub/large")) == large
    assert client.leases() == {}


def test_wrong_keys(url: str) -> None:
    with pytest.raises(GatewayRefused, match="invalid_hmac"):
        GatewayClient(url, GatewayKey("rootkey", "guessed")).acquire(REPOSITORY)


def test_a_pack_that_is_not_what_it_says(url: str) -> None:
    with GatewayClient(url, _KEY).acquire(REPOSITORY) as lease:
        item = PackedObject(hash_bytes(b"right"), ObjectKind.FILE, 5)
        with pytest.raises(GatewayError, match="has the hash"):
            lease.send([item], lambda _: io.BytesIO(b"wrong"))
        lease.send([item], lambda _: io.BytesIO(b"right"))
        assert lease.is_held()


def test_a_sender_that_goes_away_leaves_nothing(bench: GatewayBench, url: str) -> None:
    client = GatewayClient(url, _KEY)
    parts = urlsplit(url)
    with client.acquire(REPOSITORY) as lease:
        with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
            request = (
                f"POST {parts.path}/payloads HTTP/1.1\r\nHost: x\r\nMessage-Size: 50\r\nContent-Length: 9999\r\n\r\n"
            )
            connection.sendall(request.encode() + b"{")
        item = PackedObject(hash_bytes(b"x"), ObjectKind.FILE, 1)
        lease.send([item], lambda _: io.BytesIO(b"x"))
    assert not list((bench.root / "data" / "txn").iterdir())
