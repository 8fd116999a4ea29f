"""Stock publishers write through our gateway, and our client through the official one; stock tools read the result."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from softman.cvmfs.areas import DirectoryArea, new_transaction_id
from softman.cvmfs.errors import GatewayUnavailable
from softman.cvmfs.format.keys import GatewayKey, generate_keys
from softman.cvmfs.gateway.client import GatewayClient
from softman.cvmfs.gateway.sending import send_staged
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.local import LocalStore
from softman.cvmfs.transaction import Transaction
from softman.services.gateway.access import AccessKey, Door
from softman.standalone.ports import PortHold
from softman.standalone.process import wait_until
from tests.compat.conftest import StockClient, Swissknife
from tests.compat.server_host import ServerHost, server_host
from tests.support.gateway import FixedAccess, GatewayBench, serving_gateway
from tests.support.serving import served

NAME = "shared.example.org"
_KEY = GatewayKey("stock", "a-test-secret")

pytestmark = pytest.mark.compat


class _Now:
    """The real time, as stock tools have it."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)

    def unix(self) -> float:
        return self().timestamp()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ServerHost]:
    with server_host(tmp_path / "host") as made:
        yield made


@pytest.fixture
def bench(tmp_path: Path) -> GatewayBench:
    access = FixedAccess({NAME: Door((AccessKey(_KEY),))})
    root = tmp_path / "ours" / NAME
    root.mkdir(parents=True)
    made = GatewayBench(root, generate_keys(NAME, datetime.now(UTC)), access, NAME, _Now())  # type: ignore[arg-type]  # not a Clock that stands
    made.repository.create(ttl=60, whitelist_days=30)
    with made.repository.transaction() as tx:
        tx.add_bytes("/sub/one/f", b"1")
        tx.add_bytes("/sub/two/f", b"2")
    return made


def _publish_natively(client: GatewayClient, reader: RepositoryReader, directory: Path, path: str, body: bytes) -> int:
    area = DirectoryArea(directory / new_transaction_id())
    with client.acquire(NAME, path.strip("/").rpartition("/")[0], wait=30) as lease, reader.snapshot() as base:
        staging = Staging(area)
        with Transaction(base, staging, now=lambda: datetime.now(UTC)) as tx:
            tx.add_file(path, staging.write_file([body]), 0o644, int(datetime.now(UTC).timestamp()))
            candidate = tx.seal()
        assert candidate is not None
        send_staged(lease, area)
        return lease.commit(candidate.base_root_hash, candidate.root_hash)


def _checked(url: str, key: Path, swissknife: Swissknife) -> None:
    found = swissknife.check(url, key, NAME)
    assert found.returncode == 0, found.stdout + found.stderr


def test_stock_publishers_write_through_our_gateway(
    bench: GatewayBench, host: ServerHost, swissknife: Swissknife, stock_client: StockClient, tmp_path: Path
) -> None:
    (host.keys / f"{NAME}.pub").write_bytes(bench.keys.public_key)
    (host.keys / f"{NAME}.crt").write_bytes(bench.keys.certificate)
    (host.keys / f"{NAME}.gw").write_text(_KEY.to_text())
    native = GatewayClient
    with served(bench.root.parent) as web, serving_gateway(bench.gateway) as api:
        url, upstream = f"{web}/{NAME}", f"gw,/srv/cvmfs/{NAME}/data/txn,{api}"
        host.server("mkfs", "-w", url, "-u", upstream, "-k", "/etc/cvmfs/keys", "-o", "root", "-p", NAME)
        host.server("transaction", f"{NAME}/sub/one")
        host.run("sh", "-c", f"cd /cvmfs/{NAME}/sub/one && echo new > f && mkdir d && ln -s ../f d/l && touch d/empty")
        ours = _publish_natively(native(api, _KEY), bench.reader(), tmp_path, "/sub/two/g", b"native" * 100_000)
        host.server("publish", "-f", "-a", "first", "-m", "text", NAME)
        assert bench.reader().manifest().revision == ours + 1
        host.server("transaction", f"{NAME}/sub/one")
        host.run("rm", "-r", f"/cvmfs/{NAME}/sub/one/d")
        bench.gateway.drop_below(f"{NAME}/")  # as when the gateway starts again in between
        with pytest.raises(AssertionError, match="invalid lease"):
            host.server("publish", "-f", NAME)
        host.server("abort", "-f", NAME)
        assert bench.gateway.leases() == {}
        key = host.keys / f"{NAME}.pub"
        _checked(url, key, swissknife)
        with stock_client.mounted(url, key, NAME) as mounted:
            assert (mounted / "sub/one/f").read_text() == "new\n"
            assert (mounted / "sub/one/d/l").read_text() == "new\n"
            assert (mounted / "sub/two/g").read_bytes() == b"native" * 100_000
    tag = bench.reader().history().tag("first")
    assert tag is not None
    assert tag.revision == ours + 1


@contextmanager
def _official_gateway(host: ServerHost) -> Iterator[str]:
    """The official gateway in the namespace of ``host``; the address of its API."""
    if shutil.which("cvmfs_gateway") is None or shutil.which("cvmfs_receiver") is None:
        pytest.skip("the official cvmfs_gateway and cvmfs_receiver are not on the PATH")
    folder, hold = host.root / "etc" / "gateway", PortHold()
    port = hold.take()
    hold.release(port)
    folder.mkdir(parents=True)
    (host.root / "work-gw").mkdir()
    receiver = shutil.which("cvmfs_receiver")
    (folder / "repo.json").write_text(f'{{"version": 2, "repos": ["{NAME}"], "keys": []}}')
    (folder / "user.json").write_text(
        f'{{"port": {port}, "num_receivers": 1, "receiver_path": "{receiver}", "work_dir": "{host.root}/work-gw"}}'
    )
    enter = ["nsenter", f"--mount=/proc/{host.namespace}/ns/mnt", "--wd=/", shutil.which("cvmfs_gateway") or ""]
    log = (host.root / "gateway.log").open("wb")
    with log, subprocess.Popen(enter, stdout=log, stderr=log, cwd="/") as process:
        url = f"http://127.0.0.1:{port}/api/v1"

        def answers() -> bool:
            try:
                return GatewayClient(url, _KEY).leases() == {}
            except GatewayUnavailable:
                assert process.poll() is None, (host.root / "gateway.log").read_text()
                return False

        try:
            wait_until(answers, "the official gateway answers", seconds=30.0)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def test_our_client_writes_through_the_official_gateway(
    host: ServerHost, swissknife: Swissknife, stock_client: StockClient, tmp_path: Path
) -> None:
    host.server("mkfs", "-o", "root", "-p", "-w", f"{host.url}/{NAME}", NAME)
    host.publish(NAME, ("mkdir", "-p", f"/cvmfs/{NAME}/sub/one", f"/cvmfs/{NAME}/sub/two"))
    (host.keys / f"{NAME}.gw").write_text(_KEY.to_text())
    key, url = host.keys / f"{NAME}.pub", f"{host.url}/{NAME}"
    reader = RepositoryReader(LocalStore(host.storage / NAME), NAME, [key.read_bytes()], now=lambda: datetime.now(UTC))
    before = reader.manifest().revision
    content = os.urandom(6_000_000)
    with _official_gateway(host) as api:
        client = GatewayClient(api, _KEY)
        assert _publish_natively(client, reader, tmp_path, "/sub/one/large", content) == before + 1
        assert _publish_natively(client, reader, tmp_path, "/sub/two/small", b"small") == before + 2
        assert client.leases() == {}
    _checked(url, key, swissknife)
    with stock_client.mounted(url, key, NAME) as mounted:
        assert (mounted / "sub/one/large").read_bytes() == content
        assert (mounted / "sub/two/small").read_bytes() == b"small"
