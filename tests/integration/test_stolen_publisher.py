"""A publisher that was taken over, on a real site: with all that its role has it tries what must be refused."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from softman.adapters.registry import VaultRegistry
from softman.adapters.s3_client import S3Access, s3_client
from softman.adapters.vault import VaultKeys
from softman.adapters.vault_layout import Role
from softman.adapters.vault_session import VaultSession
from softman.cvmfs.format.hashes import ObjectKind, path_hash
from softman.cvmfs.format.keys import GatewayKey, RepositoryKeys, generate_gateway_key
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.staging import Staging, new_transaction_id, staged_name
from softman.cvmfs.transaction import Candidate, Transaction
from softman.errors import CandidateRefused, Forbidden
from softman.model import Base, CommitAnswer, CommitRequest, Quotas, RegistryRecord, State
from softman.names import RepositoryName
from softman.services.proof import signed
from softman.settings import Settings
from softman.standalone.processes import WORKERS
from softman.tasks.client import CeleryCommitDoor, client_app
from tests.support.patience import SECONDS
from tests.support.site import Site
from tests.support.writing import Workshop, add, staged_catalog

VICTIM, OTHER = "stolen-alice", "stolen-bob"


@dataclass
class Publisher:
    """The role's settings and nothing else, put to use by somebody else."""

    settings: Settings
    name: RepositoryName
    root: Path
    key: GatewayKey = field(init=False)

    def __post_init__(self) -> None:
        session = VaultSession(self.settings.vault, Role.PUBLISHER)
        self.vault, self.registry = VaultKeys(session, self.settings.vault), VaultRegistry(session, self.settings.vault)
        record = self.registry.get(self.name)
        assert record is not None
        self.record: RegistryRecord = record
        material = self.vault.read_owner_keys(record.owner, self.name)
        assert material is not None
        self.key = GatewayKey.parse(material["gatewayKey"])
        self.workshop = Workshop(
            self.root, str(self.name), RepositoryKeys(b"", material["publicKey"].encode(), b"", b""), datetime.now(UTC)
        )
        self.app = client_app(self.settings)
        self.door = CeleryCommitDoor(self.app, SECONDS)

    @property
    def manifest(self) -> Manifest:
        return self.workshop.reader().manifest()

    def request(self, candidate: Candidate, transaction: str, **changes: Any) -> CommitRequest:
        base = Base(candidate.base_revision, str(candidate.base_root_hash))
        wish = CommitRequest(str(self.name), transaction, base, str(candidate.root_hash), "", "")
        return replace(wish, **changes)

    def ask(self, candidate: Candidate, staging: Staging | str, **changes: Any) -> CommitAnswer:
        transaction = staging if isinstance(staging, str) else staging.transaction
        return self.door.commit(signed(self.request(candidate, transaction, **changes), self.key))

    def publish(self, change: Callable[[Transaction, Staging], None]) -> Manifest:
        candidate, staging = self.workshop.candidate(change)
        assert self.ask(candidate, staging).committed
        return self.manifest

    def forged(self, *sql: str) -> CommitAnswer:
        """Ask for a candidate after some SQL in its root catalog."""
        candidate, staging = self.workshop.candidate(add("/forged"))
        return self.ask(self.workshop.forge(candidate, staging, *sql), staging)


@pytest.fixture(scope="module")
def publisher(request: pytest.FixtureRequest) -> Publisher:
    site: Site = request.getfixturevalue("site")
    name = site.provision(VICTIM)
    stolen = Publisher(site.stack.settings("publisher"), name, site.stack.repositories_dir / str(name))
    stolen.publish(add("/kept"))
    return stolen


@pytest.fixture(scope="module")
def other(request: pytest.FixtureRequest) -> Publisher:
    site: Site = request.getfixturevalue("site")
    name = site.provision(OTHER)
    return Publisher(site.stack.settings("publisher"), name, site.stack.repositories_dir / str(name))


@pytest.fixture
def nothing_changes(publisher: Publisher) -> Any:
    before = publisher.manifest
    yield
    assert publisher.manifest == before
    publisher.publish(add(f"/honest-{before.revision}"))  # the door works: refusals were no accident


def _without(sql: str) -> Callable[[Publisher], object]:
    return lambda thief: thief.forged(sql)


def _garbage(thief: Publisher) -> object:
    candidate, staging = thief.workshop.candidate(add("/x"))
    return thief.ask(thief.workshop.replace_catalog(candidate, staging, b"no database" * 100), staging)


def _wrong_content(thief: Publisher) -> object:
    candidate, staging = thief.workshop.candidate(add("/x", b"as announced"))
    for path in staging.directory.iterdir():
        if path.name != staged_name(candidate.root_hash, ObjectKind.CATALOG):
            path.write_bytes(b"something else")
    return thief.ask(candidate, staging)


def _other_transaction(thief: Publisher) -> object:
    candidate, _ = thief.workshop.candidate(add("/x"))
    _, elsewhere = thief.workshop.candidate(add("/y"))
    return thief.ask(candidate, elsewhere)


def _other_hash(thief: Publisher) -> object:
    candidate, staging = thief.workshop.candidate(add("/x"))
    return thief.ask(candidate, staging, new_root_hash=f"{'a' * 40}-rmd160")


def _escaping(transaction: str) -> Callable[[Publisher], object]:
    def escape(thief: Publisher) -> object:
        candidate, _ = thief.workshop.candidate(add("/x"))
        return thief.ask(candidate, transaction)

    return escape


def _link(target: str) -> Callable[[Publisher], object]:
    def change(transaction: Transaction, _staging: Staging) -> None:
        transaction.add_symlink("/link", target, 5)

    return lambda thief: thief.ask(*thief.workshop.candidate(change))


X = path_hash(b"/forged")
REFUSED: dict[str, tuple[Callable[[Publisher], object], str]] = {
    "no database": (_garbage, "no SQLite database"),
    "other table": (_without("CREATE TABLE more (a)"), "tables"),
    "trigger": (_without("CREATE TRIGGER t AFTER INSERT ON catalog BEGIN SELECT 1; END"), "tables"),
    "view": (_without("CREATE VIEW v AS SELECT 1"), "tables"),
    "set-id": (_without("UPDATE catalog SET mode=mode|2048 WHERE name='forged'"), "set-id"),
    "device": (_without("UPDATE catalog SET mode=8630 WHERE name='forged'"), "plain file"),
    "external file": (_without("UPDATE catalog SET flags=flags|128 WHERE name='forged'"), "self_external"),
    "other owner": (_without("UPDATE catalog SET uid=1000 WHERE name='forged'"), "not to root"),
    "name": (_without("UPDATE catalog SET name='..' WHERE name='forged'"), "cannot be the name"),
    "loop": (
        _without(f"UPDATE catalog SET parent_1={X[0]}, parent_2={X[1]}, flags=1, mode=16877 WHERE name='forged'"),
        "counter|links|no way to the root|no parent",
    ),
    "link out": (_link("/etc/passwd"), "out of the repository"),
    "link up": (_link("../../other.example.org/x"), "out of the repository"),
    "other content": (_wrong_content, "has the hash"),
    "another transaction": (_other_transaction, "not in the staging area"),
    "escape": (_escaping("../../../etc"), "no transaction"),
    "nul": (_escaping("a" * 31 + "\0"), "no transaction"),
    "other algorithm": (_other_hash, "not hashed like the rest"),
}


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize(("attack", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_hostile_candidate_is_not_signed(
    publisher: Publisher, attack: Callable[[Publisher], object], reason: str
) -> None:
    with pytest.raises(CandidateRefused, match=reason):
        attack(publisher)


def test_an_old_revision_is_not_brought_back(publisher: Publisher) -> None:
    old = publisher.manifest
    now = publisher.publish(add("/newer"))
    candidate = Candidate(now.revision, now.root_hash, old.root_hash, old.root_size)
    with pytest.raises(CandidateRefused, match="revision"):
        publisher.ask(candidate, new_transaction_id())
    assert publisher.manifest == now


def test_an_old_nested_catalog_is_not_brought_back(publisher: Publisher) -> None:
    def change(content: bytes) -> Callable[[Transaction, Staging], None]:
        def make(transaction: Transaction, staging: Staging) -> None:
            for name in (".cvmfscatalog", "tool"):
                transaction.add_file(f"/nested/{name}", staging.write_file([content]), 0o644, 5)

        return make

    publisher.publish(change(b"vulnerable"))
    publisher.workshop.time += timedelta(seconds=5)
    candidate, staging = publisher.workshop.candidate(change(b"mended now"))
    old = _registered(publisher, staging, publisher.manifest.root_hash)
    assert publisher.ask(candidate, staging).committed
    now = publisher.manifest
    assert _registered(publisher, staging, now.root_hash) != old
    sql = f"UPDATE nested_catalogs SET sha1='{old[0]}', size={old[1]}"
    with pytest.raises(CandidateRefused, match=r"the catalog of b'/nested' was modified at .*, which cannot be"):
        publisher.forged(sql)
    assert publisher.manifest == now


def _registered(publisher: Publisher, staging: Staging, root: Any) -> tuple[str, int]:
    with closing(staged_catalog(publisher.workshop, staging, root)) as connection:
        row: tuple[str, int] = connection.execute("SELECT sha1, size FROM nested_catalogs").fetchone()
    return row


SIGNATURES: dict[str, Callable[[CommitRequest, GatewayKey, GatewayKey], CommitRequest]] = {
    "none": lambda wish, key, _: replace(wish, key_id=key.key_id),
    "false": lambda wish, key, _: replace(signed(wish, key), signature="0" * 64),
    "cut": lambda wish, key, _: replace(signed(wish, key), signature=signed(wish, key).signature[:32]),
    "of another repository's key": lambda wish, _, other: signed(wish, other),
    "of another secret": lambda wish, key, _: signed(wish, GatewayKey(key.key_id, generate_gateway_key().secret)),
    "for another root": lambda wish, key, _: replace(signed(wish, key), new_root_hash="a" * 40),
    "for another base": lambda wish, key, _: replace(
        signed(wish, key), base=replace(wish.base, revision=wish.base.revision - 1)
    ),
    "for another transaction": lambda wish, key, _: replace(signed(wish, key), transaction=new_transaction_id()),
    "for another path": lambda wish, key, _: replace(signed(replace(wish, path="/a"), key), path="/b"),
    "for the whole repository": lambda wish, key, _: replace(signed(replace(wish, path="/a"), key), path=""),
    "without the configuration": lambda wish, key, _: replace(signed(wish, key), configuration="ignore = []"),
}


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize("sign", SIGNATURES.values(), ids=SIGNATURES)
def test_a_wrong_signature_opens_nothing(
    publisher: Publisher, other: Publisher, sign: Callable[[CommitRequest, GatewayKey, GatewayKey], CommitRequest]
) -> None:
    candidate, staging = publisher.workshop.candidate(add("/x"))
    request = sign(publisher.request(candidate, staging.transaction), publisher.key, other.key)
    with pytest.raises(CandidateRefused, match=r"not signed with its current gateway key \(forbidden\)"):
        publisher.door.commit(request)


@pytest.mark.usefixtures("nothing_changes")
def test_a_key_opens_its_own_repository_only(publisher: Publisher, other: Publisher) -> None:
    candidate, staging = other.workshop.candidate(add("/x"))
    request = replace(other.request(candidate, staging.transaction), repository=str(publisher.name))
    with pytest.raises(CandidateRefused, match="forbidden"):
        publisher.door.commit(signed(request, other.key))
    with pytest.raises(CandidateRefused, match="there is no repository"):
        publisher.door.commit(signed(replace(request, repository="stolen-nobody.example.org"), other.key))
    with pytest.raises(CandidateRefused, match=r"\(invalid\)"):
        publisher.door.commit(signed(replace(request, repository="../stolen-alice.example.org"), other.key))
    # What lies in one repository's staging area is nothing for another's.
    mine = replace(publisher.request(candidate, staging.transaction), base=_base(publisher.manifest))
    with pytest.raises(CandidateRefused, match="not in the staging area"):
        publisher.door.commit(signed(mine, publisher.key))


def _base(manifest: Manifest) -> Base:
    return Base(manifest.revision, str(manifest.root_hash))


def test_a_replay_changes_nothing_and_the_order_cannot_be_turned(publisher: Publisher) -> None:
    first, area = publisher.workshop.candidate(add("/first"))
    second, later = publisher.workshop.candidate(add("/second"))
    request = signed(publisher.request(first, area.transaction), publisher.key)
    assert publisher.door.commit(request).committed
    now = publisher.manifest
    assert publisher.door.commit(request).committed  # what a broker delivers twice
    assert publisher.manifest == now
    answer = publisher.ask(second, later)  # built on the same base
    assert (answer.committed, answer.current) == (False, _base(now))
    now = publisher.publish(add("/third"))
    answer = publisher.door.commit(request)
    assert (answer.committed, answer.current) == (False, _base(now))
    assert publisher.manifest == now


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize("change", [{"revision": 1}, {"root_hash": "a" * 40}, {"revision": 2**62}])
def test_only_the_revision_in_force_is_a_base(publisher: Publisher, change: dict[str, Any]) -> None:
    candidate, staging = publisher.workshop.candidate(add("/x"))
    request = publisher.request(candidate, staging.transaction)
    request = replace(request, base=replace(request.base, **change))
    answer = publisher.door.commit(signed(request, publisher.key))
    assert (answer.committed, answer.current) == (False, _base(publisher.manifest))


@pytest.mark.usefixtures("nothing_changes")
def test_missing_objects_and_other_paths(publisher: Publisher) -> None:
    candidate, staging = publisher.workshop.candidate(add("/x", b"gone before it is looked at"))
    for path in staging.directory.iterdir():
        if path.name != staged_name(candidate.root_hash, ObjectKind.CATALOG):
            path.unlink()
    answer = publisher.ask(candidate, staging)
    assert not answer.committed
    assert "neither staged nor stored" in answer.reason
    candidate, staging = publisher.workshop.candidate(add("/x"))
    for elsewhere in ("/elsewhere", "/kep", "/kept"):
        with pytest.raises(CandidateRefused, match="lies outside of"):
            publisher.ask(candidate, staging, path=elsewhere)
    with pytest.raises(CandidateRefused, match=r"not-found"):
        publisher.ask(candidate, staging, path="../x")


def test_a_path_may_be_asked_for(publisher: Publisher) -> None:
    candidate, staging = publisher.workshop.candidate(add("/folder/x"))
    assert publisher.ask(candidate, staging, path="/folder").committed


@pytest.fixture
def admin(site: Site) -> VaultRegistry:
    return VaultRegistry(VaultSession(site.settings.vault, Role.STRATUM0), site.settings.vault)


CLOSED: dict[str, tuple[dict[str, Any], str]] = {
    "locked": ({"state": State.LOCKED}, "is locked"),
    "retired": ({"state": State.RETIRED}, "is retired"),
    "not ready": ({"state": State.CREATED}, "is not ready"),
    "entries": ({"quotas": Quotas(max_entries=1)}, "quota: .* entries"),
    "bytes": ({"quotas": Quotas(max_bytes=1)}, "quota: .* bytes"),
}


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize(("fields", "reason"), CLOSED.values(), ids=CLOSED)
def test_the_registry_decides_whether_and_how_much(
    publisher: Publisher, admin: VaultRegistry, fields: dict[str, Any], reason: str
) -> None:
    def many(transaction: Transaction, staging: Staging) -> None:
        for number in range(100):
            transaction.add_file(f"/many/{number}", staging.write_file([b"x" * number]), 0o644, 5)

    before = admin.get(publisher.name)
    assert before is not None
    changed = admin.put(replace(before, **fields))
    try:
        candidate, staging = publisher.workshop.candidate(many)
        with pytest.raises(CandidateRefused, match=reason):
            publisher.ask(candidate, staging)
    finally:
        admin.put(replace(before, version=changed.version))


def test_the_vault_gives_no_signing_key_and_takes_nothing(publisher: Publisher) -> None:
    with pytest.raises(Forbidden):
        publisher.vault.read_signing(publisher.name)
    with pytest.raises(Forbidden):
        publisher.vault.write_owner_keys(publisher.record.owner, publisher.name, {"gatewayKey": "x"})
    with pytest.raises(Forbidden):
        publisher.registry.put(publisher.record)


def test_the_object_store_gives_nothing_away(publisher: Publisher, site: Site) -> None:
    keys = publisher.settings.s3.reader
    client = s3_client(S3Access(publisher.settings.s3.endpoint, keys.access_key, keys.secret_key.get_secret_value()))
    bucket = publisher.name.bucket
    writes: list[Callable[[], object]] = [
        lambda: client.put_object(Bucket=bucket, Key="cvmfs/evil", Body=b"x"),
        lambda: client.delete_object(Bucket=bucket, Key="cvmfs/x"),
        lambda: client.put_bucket_acl(Bucket=bucket, ACL="public-read"),
        lambda: client.get_bucket_notification_configuration(Bucket=bucket),
    ]
    for write in writes:
        with pytest.raises(client.exceptions.ClientError, match=r"AccessDenied|MethodNotAllowed"):
            write()
    assert site.stack.settings("publisher").s3.connector.access_key == ""


def test_no_process_has_a_secret_of_another_or_shows_one(site: Site) -> None:
    """Whoever takes one over finds what it needs itself, and nobody sees a secret in a list of processes."""
    stack = site.stack
    secrets = {
        stack.s3_credentials("connector").secret_key: {"connector"},
        stack.s3_credentials("reader").secret_key: {"publisher", "bulk"},
        stack.s3_credentials("uploader").secret_key: {"dashboard"},
        stack.vault_role("stratum0")[1]: {"stratum0", "commit"},
        stack.vault_role("publisher")[1]: {"publisher", "bulk"},
        stack.push_endpoint: {"connector"},
    }
    found: dict[str, set[str]] = {secret: set() for secret in secrets}
    for name in stack.processes.names():
        identity = stack.processes.identity(name)
        if not name.startswith(WORKERS) or identity is None:
            continue
        main = psutil.Process(identity.pid)
        for process in (main, *main.children(recursive=True)):
            variables = " ".join(process.environ().values())
            for secret in secrets:
                if secret in variables:
                    found[secret].add(name.removeprefix(WORKERS))
    assert list(found.values()) == list(secrets.values())
    command_lines = " ".join(word for process in psutil.process_iter() for word in _command_line(process))
    assert [secret for secret in secrets if secret in command_lines] == []


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended
        return []
