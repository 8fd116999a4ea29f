"""``KeyVault`` and ``Registry``: one suite on memory, on the stand-in over HTTP, and on a real server."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import hvac
import pytest

from softman.adapters.memory_vault import MemoryKeyVault, MemoryRegistry, MemoryVault
from softman.adapters.ports import KeyVault, Registry
from softman.adapters.registry import VaultRegistry
from softman.adapters.vault import VaultKeys
from softman.adapters.vault_layout import Role, owner_path, signing_path
from softman.adapters.vault_session import VaultSession
from softman.errors import Conflict, Forbidden, InvalidInput, NotFound
from softman.model import Quotas, RegistryRecord, State
from softman.names import Kind, Owner, RepositoryName
from softman.settings import VaultSettings
from tests.contract.vault.conftest import Server

ALICE = RepositoryName("alice", "example.org")
BIOTEAM = RepositoryName("bioteam", "example.org")
USER = Owner("alice", "auth0|alice@example.org")
GROUP = Owner("alice", "auth0|alice@example.org", Kind.GROUP, "bioteam")
KEYS = {"publicKey": "-----BEGIN\npub\n", "certificateKey": "crt", "gatewayKey": "plain_text id secret"}
SIGNING = {"privateKey": "first private", "masterKey": "first master"}


@dataclass(frozen=True)
class World:
    """One Vault, as the roles see it, and the version that the owner's keys have."""

    keys: Callable[[Role], KeyVault]
    registry: Callable[[Role], Registry]
    owner_version: Callable[[Owner, RepositoryName], int]
    signing_versions: Callable[[RepositoryName], list[str]]
    """The private keys that can be read in any version."""


def _memory_world() -> World:
    vault = MemoryVault()
    return World(
        keys=lambda role: MemoryKeyVault(role, vault),
        registry=lambda role: MemoryRegistry(role, vault),
        owner_version=lambda owner, repository: vault.read(f"secrets/{owner_path(owner, repository)}")[1],
        signing_versions=lambda repository: [
            str((vault.read(f"softman/{signing_path(repository)}")[0] or {})["privateKey"])
        ],
    )


def _vault_world(request: pytest.FixtureRequest) -> Iterator[World]:
    server = request.getfixturevalue(request.param)
    unique = request.getfixturevalue("unique")
    settings = server.set_up(server.settings(mount=f"s-{unique}", own_mount=f"o-{unique}", cache_seconds=0))
    sessions = {role: VaultSession(settings, role) for role in Role}

    def version(owner: Owner, repository: RepositoryName) -> int:
        return sessions[Role.STRATUM0].read(settings.mount, owner_path(owner, repository), "keys").version

    yield World(
        keys=lambda role: VaultKeys(sessions[role], settings),
        registry=lambda role: VaultRegistry(sessions[role], settings),
        owner_version=version,
        signing_versions=lambda repository: _versions(server, settings, signing_path(repository)),
    )
    for session in sessions.values():
        session.close()


def _versions(server: Server, settings: VaultSettings, path: str) -> list[str]:
    """The private keys in all versions that an administrator can read."""
    client: Any = hvac.Client(server.address, token=server.root_token)
    kv, mount = client.secrets.kv.v2, settings.own_mount
    try:
        known = kv.read_secret_metadata(path=path, mount_point=mount)["data"]["versions"]
        left = sorted(int(number) for number, version in known.items() if not version["destroyed"])
        found = [
            kv.read_secret_version(path=path, version=number, mount_point=mount, raise_on_deleted_version=True)
            for number in left
        ]
    finally:
        client.adapter.close()
    return [version["data"]["data"]["privateKey"] for version in found]


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield _memory_world()
    else:
        yield from _vault_world(request)


@pytest.fixture
def keys(world: World) -> KeyVault:
    return world.keys(Role.STRATUM0)


@pytest.fixture
def registry(world: World) -> Registry:
    return world.registry(Role.STRATUM0)


@pytest.mark.usefixtures("real_server")
def test_a_real_server_is_tested_too() -> None:
    """Skipped with the reason when there is none; the suites run on it by themselves when there is one."""


class TestSigningKeys:
    def test_none_before_they_are_made(self, keys: KeyVault) -> None:
        assert keys.read_signing(ALICE) is None

    def test_what_is_created_is_read(self, keys: KeyVault) -> None:
        assert keys.create_signing(ALICE, SIGNING) == SIGNING
        assert keys.read_signing(ALICE) == SIGNING
        assert keys.read_signing(BIOTEAM) is None

    def test_the_first_writer_wins(self, world: World) -> None:
        one, two = world.keys(Role.STRATUM0), world.keys(Role.STRATUM0)
        one.create_signing(ALICE, SIGNING)
        assert two.create_signing(ALICE, {"privateKey": "second"}) == SIGNING
        assert two.read_signing(ALICE) == SIGNING

    def test_of_many_at_once_one_wins_and_all_agree(self, world: World) -> None:
        vaults = [world.keys(Role.STRATUM0) for _ in range(6)]
        results: list[dict[str, str]] = []
        barrier = threading.Barrier(len(vaults))

        def create(vault: KeyVault, number: int) -> None:
            barrier.wait(timeout=60)
            results.append(vault.create_signing(ALICE, {"privateKey": str(number)}))

        threads = [threading.Thread(target=create, args=(vault, number)) for number, vault in enumerate(vaults)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert len(results) == len(vaults)
        assert all(result == results[0] for result in results)
        assert vaults[0].read_signing(ALICE) == results[0]

    def test_a_publisher_sees_none_and_makes_none(self, world: World) -> None:
        world.keys(Role.STRATUM0).create_signing(ALICE, SIGNING)
        publisher = world.keys(Role.PUBLISHER)
        with pytest.raises(Forbidden, match=r"alice\.example\.org"):
            publisher.read_signing(ALICE)
        with pytest.raises(Forbidden):
            publisher.create_signing(BIOTEAM, SIGNING)
        assert world.keys(Role.STRATUM0).read_signing(BIOTEAM) is None

    def test_a_change_is_based_on_what_others_wrote(self, world: World) -> None:
        one, two = world.keys(Role.STRATUM0), world.keys(Role.STRATUM0)
        one.create_signing(ALICE, SIGNING)
        wrote: list[bool] = []

        def change(values: dict[str, str]) -> dict[str, str]:
            return values | {"one": "1"}

        def also(values: dict[str, str]) -> dict[str, str]:
            if not wrote and not isinstance(two, MemoryKeyVault):
                wrote.append(True)
                one.change_signing(ALICE, change)  # between reading and writing
            return values | {"two": "2"}

        if isinstance(two, MemoryKeyVault):  # which holds others off meanwhile
            one.change_signing(ALICE, change)
        assert two.change_signing(ALICE, also) == SIGNING | {"one": "1", "two": "2"}
        assert one.read_signing(ALICE, fresh=True) == SIGNING | {"one": "1", "two": "2"}

    def test_there_must_be_something_to_change(self, keys: KeyVault) -> None:
        with pytest.raises(NotFound):
            keys.change_signing(ALICE, lambda values: values)
        with pytest.raises(NotFound):
            keys.change_master("domain/example.org", lambda values: values)

    def test_master_keys_lie_apart(self, world: World) -> None:
        keys = world.keys(Role.STRATUM0)
        assert keys.read_master("domain/example.org") is None
        assert keys.create_master("domain/example.org", {"masterKey": "m"}) == {"masterKey": "m"}
        assert keys.create_master("domain/example.org", {"masterKey": "other"}) == {"masterKey": "m"}
        assert keys.read_master("repository/example.org") is None
        assert keys.change_master("domain/example.org", lambda values: values | {"n": "2"}) == {
            "masterKey": "m",
            "n": "2",
        }
        assert keys.read_signing(ALICE) is None
        publisher = world.keys(Role.PUBLISHER)
        with pytest.raises(Forbidden):
            publisher.read_master("domain/example.org")
        with pytest.raises(Forbidden):
            publisher.create_master("domain/example.org", {})

    def test_what_is_to_be_forgotten_is(self, world: World) -> None:
        keys = world.keys(Role.STRATUM0)
        keys.create_signing(ALICE, SIGNING)
        keys.change_signing(ALICE, lambda _values: {"privateKey": "second"}, forget=True)
        assert keys.read_signing(ALICE, fresh=True) == {"privateKey": "second"}
        assert world.signing_versions(ALICE) == ["second"]

    def test_changing_a_result_changes_nothing_stored(self, keys: KeyVault) -> None:
        keys.create_signing(ALICE, SIGNING)["privateKey"] = "changed"
        found = keys.read_signing(ALICE)
        assert found == SIGNING
        found["privateKey"] = "changed"
        assert keys.read_signing(ALICE) == SIGNING


class TestOwnerKeys:
    @pytest.mark.parametrize(("owner", "repository"), [(USER, ALICE), (GROUP, BIOTEAM)])
    def test_a_publisher_reads_what_stratum0_wrote(
        self, world: World, owner: Owner, repository: RepositoryName
    ) -> None:
        assert world.keys(Role.PUBLISHER).read_owner_keys(owner, repository) is None
        world.keys(Role.STRATUM0).write_owner_keys(owner, repository, KEYS)
        assert world.keys(Role.PUBLISHER).read_owner_keys(owner, repository) == KEYS
        assert world.keys(Role.STRATUM0).read_owner_keys(owner, repository) == KEYS

    def test_no_version_when_unchanged(self, world: World, keys: KeyVault) -> None:
        for _ in range(3):
            keys.write_owner_keys(USER, ALICE, KEYS)
        assert world.owner_version(USER, ALICE) == 1

    def test_a_change_is_a_version(self, world: World, keys: KeyVault) -> None:
        keys.write_owner_keys(USER, ALICE, KEYS)
        changed = {**KEYS, "gatewayKey": "plain_text id other"}
        keys.write_owner_keys(USER, ALICE, changed)
        assert keys.read_owner_keys(USER, ALICE) == changed
        assert world.owner_version(USER, ALICE) == 2

    def test_a_publisher_writes_nothing(self, world: World) -> None:
        with pytest.raises(Forbidden):
            world.keys(Role.PUBLISHER).write_owner_keys(USER, ALICE, KEYS)
        assert world.keys(Role.STRATUM0).read_owner_keys(USER, ALICE) is None

    def test_two_repositories_and_two_owners_are_apart(self, keys: KeyVault) -> None:
        keys.write_owner_keys(USER, ALICE, KEYS)
        assert keys.read_owner_keys(Owner("alice", "somebody-else"), ALICE) is None
        assert keys.read_owner_keys(GROUP, BIOTEAM) is None

    def test_a_group_cannot_leave_its_place(self, keys: KeyVault) -> None:
        sly = Owner("mallory", "mallory", Kind.GROUP, "../alice")
        with pytest.raises(InvalidInput):
            keys.write_owner_keys(sly, ALICE, KEYS)
        with pytest.raises(InvalidInput):
            keys.read_owner_keys(sly, ALICE)


class TestRegistry:
    RECORD = RegistryRecord(ALICE, USER)

    def test_empty(self, registry: Registry) -> None:
        assert registry.names() == []
        assert registry.get(ALICE) is None

    def test_everything_in_a_record_comes_back(self, registry: Registry) -> None:
        record = RegistryRecord(BIOTEAM, GROUP, State.ACTIVE, "gateway", Quotas(5, 7))
        stored = registry.put(record)
        assert stored == replace(record, version=1)
        assert registry.get(BIOTEAM) == stored

    def test_names_are_sorted(self, registry: Registry) -> None:
        registry.put(RegistryRecord(BIOTEAM, GROUP))
        registry.put(self.RECORD)
        assert registry.names() == [ALICE, BIOTEAM]

    def test_compare_and_swap(self, registry: Registry) -> None:
        first = registry.put(self.RECORD)
        second = registry.put(replace(first, state=State.CREATED))
        assert second.version == 2
        with pytest.raises(Conflict, match=r"alice\.example\.org"):
            registry.put(replace(first, state=State.ACTIVE))
        assert registry.get(ALICE) == second

    @pytest.mark.parametrize("version", [0, 2, 7])
    def test_a_wrong_version_is_a_conflict(self, registry: Registry, version: int) -> None:
        stored = registry.put(self.RECORD)
        with pytest.raises(Conflict):
            registry.put(replace(stored, version=version))
        assert registry.get(ALICE) == stored

    def test_a_version_of_nothing_is_a_conflict(self, registry: Registry) -> None:
        with pytest.raises(Conflict):
            registry.put(replace(self.RECORD, version=3))

    def test_a_publisher_reads_and_lists_but_does_not_write(self, world: World, registry: Registry) -> None:
        stored = registry.put(self.RECORD)
        publisher = world.registry(Role.PUBLISHER)
        assert publisher.get(ALICE) == stored
        assert publisher.names() == [ALICE]
        with pytest.raises(Forbidden):
            publisher.put(replace(stored, state=State.ACTIVE))
        with pytest.raises(Forbidden):
            publisher.put(RegistryRecord(BIOTEAM, GROUP))
        assert registry.get(ALICE) == stored
