"""Our own gateway in front of one repository on disk, without HTTP and without a broker."""

import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import uvicorn

from softman.cvmfs.format.hashes import ContentHash
from softman.cvmfs.format.keys import GatewayKey, RepositoryKeys
from softman.cvmfs.gateway.merger import Merger
from softman.cvmfs.paths import repository_path
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Limits, Repository
from softman.cvmfs.store.local import LocalStore
from softman.cvmfs.tags import Tagging
from softman.errors import Conflict
from softman.gateway.app import Call, answer, create_app
from softman.gateway.body import Body
from softman.model import Base, CommitAnswer, CommitRequest
from softman.services.gateway.access import AccessKey, Door
from softman.services.gateway.commits import Commits, Site
from softman.services.gateway.gateway import Gateway, GatewayLimits
from softman.services.gateway.leases import LeaseBook
from softman.services.gateway.ownership import OWNERSHIP
from softman.services.mapping import SOURCE_XATTR
from softman.services.proof import check_signature
from softman.services.translate import cvmfs_errors
from tests.support.archives import unpack
from tests.support.exchanges import FOLDER, REPOSITORY
from tests.support.world import Clock

NOW = datetime(2026, 11, 22, 10, 54, 4, tzinfo=UTC)
KEPT = SOURCE_XATTR


@dataclass
class FixedAccess:
    """Repositories and keys that are written down; implements ``Access``."""

    doors: dict[str, Door]
    admins: tuple[GatewayKey, ...] = ()

    def door(self, repository: str, key_id: str) -> Door | None:
        del key_id
        return self.doors.get(repository)

    def key(self, key_id: str) -> GatewayKey | None:
        keys = (each.key for door in self.doors.values() for each in door.keys)
        return next((key for key in keys if key.key_id == key_id), None)

    def admin(self, key_id: str) -> GatewayKey | None:
        return next((key for key in self.admins if key.key_id == key_id), None)

    def known(self) -> dict[str, Door]:
        return self.doors


def access_as_recorded(keys: dict[str, GatewayKey]) -> FixedAccess:
    """The ``repo.json`` of the recordings."""
    own = Door((AccessKey(keys["rootkey"]), AccessKey(keys["subkey"], "/sub"), AccessKey(keys["adminkey"])))
    other = Door((AccessKey(keys["otherkey"]),))
    return FixedAccess({REPOSITORY: own, "other.example.org": other}, (keys["adminkey"],))


@dataclass
class RepositoryDoor:
    """Stratum 0 of one repository; implements ``CommitDoor``."""

    repository: Repository
    keys: dict[str, GatewayKey]
    limits: Limits = field(default_factory=Limits)
    before: Callable[[], object] = lambda: None
    requests: list[CommitRequest] = field(default_factory=list)

    def commit(self, request: CommitRequest) -> CommitAnswer:
        self.requests.append(request)
        self.before()
        check_signature(request, self.keys[request.key_id])
        try:
            with cvmfs_errors("committing"):
                manifest = self.repository.commit(
                    ContentHash.parse(request.new_root_hash),
                    base_revision=request.base.revision,
                    base_root_hash=ContentHash.parse(request.base.root_hash),
                    transaction=request.transaction,
                    limits=Limits(lease_path=repository_path(request.path), max_entries=self.limits.max_entries),
                    tagging=Tagging(request.tag or None, request.tag_description),
                )
        except Conflict as exc:
            return CommitAnswer(committed=False, current=request.base, reason=str(exc))
        return CommitAnswer(committed=True, current=Base(manifest.revision, str(manifest.root_hash)))


@dataclass
class GatewayBench:
    """A gateway, and the repository behind it."""

    root: Path
    keys: RepositoryKeys
    access: FixedAccess
    name: str = REPOSITORY
    clock: Clock = field(default_factory=lambda: Clock(NOW))
    lease_bytes: int = 10**9

    def __post_init__(self) -> None:
        self.store = LocalStore(self.root)
        self.repository = Repository(self.store, self.name, self.keys, now=self.clock)
        doors = self.access.doors[self.name].keys
        self.door = RepositoryDoor(self.repository, {each.key.key_id: each.key for each in doors})
        self.gateway = self.start()

    @classmethod
    def of_archive(cls, name: str, directory: Path, access: FixedAccess) -> "GatewayBench":
        """In front of the repository of the recordings."""
        unpack(FOLDER / name, directory)
        unpack(FOLDER / "keys" / "test-keys.tar.gz", directory / "keys")
        read = partial(_key_file, directory)
        keys = RepositoryKeys(read("masterkey"), read("pub"), read("key"), read("crt"))
        return cls(directory / REPOSITORY, keys, access)

    def start(self) -> Gateway:
        """A gateway that begins: it knows no lease."""
        merger = Merger(self.store, ownership=OWNERSHIP, now=lambda: int(self.clock.unix()))
        return Gateway(
            access=self.access,
            book=LeaseBook(timedelta(hours=2), self.clock),
            commits=Commits(
                self.door,
                lambda _name: Site(self.reader(), merger),
                lambda _name: self.store.new_area(),
                self.root.parent,
            ),
            open_area=lambda _name: self.store.new_area(),
            limits=GatewayLimits(self.lease_bytes),
        )

    def reader(self) -> RepositoryReader:
        return RepositoryReader(self.store, self.name, [self.keys.public_key], now=self.clock)

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and body of the answer."""
        stream = io.BytesIO(body)
        call = Call(headers or {}, path, "192.0.2.1", Body(lambda: stream.read(1000)))
        found = answer(self.gateway, method, call)
        return found.status_code, bytes(found.body).decode()


def _key_file(directory: Path, kind: str) -> bytes:
    for folder in (directory / "keys", FOLDER / "keys"):
        path = folder / f"{REPOSITORY}.{kind}"
        if path.exists():
            return path.read_bytes()
    raise AssertionError(kind)


@contextmanager
def serving_gateway(gateway: Gateway) -> Iterator[str]:
    """The gateway behind a real web server, as ``softman.gateway.main`` serves it; the address of its API."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        config = uvicorn.Config(create_app(gateway), log_config=None, access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/api/v1"
        finally:
            server.should_exit = True
            thread.join()
