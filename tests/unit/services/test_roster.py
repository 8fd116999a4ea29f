"""The roster: true, quick, and honest about its age."""

from dataclasses import replace

import pytest

from softman.adapters.memory_vault import MemoryRegistry, MemoryVault
from softman.adapters.vault_layout import Role
from softman.cvmfs.reader import RepositoryReader
from softman.errors import NotFound, ServiceUnavailable
from softman.model import RegistryRecord, State
from softman.names import Kind, Owner, RepositoryName
from softman.services.roster import LISTED, LONGEST, SHORTEST, Roster
from tests.support.world import Clock


class CountingRegistry(MemoryRegistry):
    """Counts what is asked; away when told so."""

    away = False
    reads = 0

    def get(self, repository: RepositoryName) -> RegistryRecord | None:
        self.reads += 1
        self._check()
        return super().get(repository)

    def names(self) -> list[RepositoryName]:
        self._check()
        return super().names()

    def _check(self) -> None:
        if self.away:
            msg = "Vault does not answer"
            raise ServiceUnavailable(msg)


def _no_reader(_name: RepositoryName) -> RepositoryReader:
    msg = "no keys yet"
    raise NotFound(msg)


@pytest.fixture
def vault() -> MemoryVault:
    return MemoryVault()


@pytest.fixture
def registry(vault: MemoryVault) -> CountingRegistry:
    return CountingRegistry(Role.STRATUM0, vault)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def roster(registry: CountingRegistry, clock: Clock) -> Roster:
    return Roster(registry, _no_reader, clock=clock.unix)


def _add(registry: MemoryRegistry, label: str, group: str | None = None) -> RepositoryName:
    name = RepositoryName(label, "example.org")
    kind = Kind.PERSONAL if group is None else Kind.GROUP
    registry.put(RegistryRecord(name, Owner(label, f"sub-{label}", kind, group)))
    return name


def test_nothing_is_known_before_the_first_round(registry: CountingRegistry, roster: Roster) -> None:
    name = _add(registry, "alice")
    assert (roster.get(name), roster.listed_at) == (None, None)
    roster.refresh()
    found = roster.get(name)
    assert found is not None
    assert found.record.owner.user == "alice"


def test_asking_reads_nothing(registry: CountingRegistry, roster: Roster, clock: Clock) -> None:
    names = [_add(registry, f"user{number}") for number in range(50)]
    roster.refresh()
    reads = registry.reads
    clock.tick(SHORTEST + 1)
    assert len([roster.get(name) for name in names]) == len(roster.after(None, 100)) == 50
    assert registry.reads == reads


def test_what_somebody_looks_at_is_read_again_first(registry: CountingRegistry, roster: Roster, clock: Clock) -> None:
    names = [_add(registry, f"user{number:02}") for number in range(20)]
    for _ in range(5):
        roster.refresh()
    record = registry.get(names[17])
    assert record is not None
    registry.put(replace(record, state=State.ACTIVE))
    clock.tick(SHORTEST + 1)
    roster.get(names[17])
    roster.refresh()
    found = roster.get(names[17])
    assert found is not None
    assert found.record.state is State.ACTIVE


def test_every_repository_is_read_again_after_a_while(registry: CountingRegistry, roster: Roster, clock: Clock) -> None:
    names = [_add(registry, f"user{number:02}") for number in range(20)]
    roster.refresh()
    clock.tick(LONGEST + 1)
    for _ in range(10):
        roster.refresh()
    assert {found.read_at for name in names if (found := roster.get(name))} == {clock.unix()}


def test_new_repositories_come_and_removed_ones_go(
    vault: MemoryVault, registry: CountingRegistry, roster: Roster, clock: Clock
) -> None:
    alice = _add(registry, "alice")
    roster.refresh()
    bob = _add(registry, "bob")
    del vault._secrets[next(path for path in vault.paths("") if "alice" in path)]  # by hand, as an admin may
    clock.tick(LISTED + 1)
    roster.refresh()
    assert (roster.get(alice), roster.owned("sub-alice", ())) == (None, [])
    assert [each.record.repository for each in roster.after(None, 10)] == [bob]


def test_what_was_read_stays_while_the_vault_is_away(registry: CountingRegistry, roster: Roster, clock: Clock) -> None:
    name = _add(registry, "alice")
    roster.refresh()
    began = clock.unix()
    registry.away = True
    clock.tick(LONGEST * 10)
    roster.refresh()
    found = roster.get(name)
    assert found is not None
    assert found.read_at == began
    assert "does not answer" in roster.problem
    registry.away = False
    clock.tick()
    roster.refresh()
    assert roster.problem == ""


def test_owners_and_groups_find_theirs(registry: CountingRegistry, roster: Roster) -> None:
    _add(registry, "alice")
    _add(registry, "bob")
    physics = _add(registry, "physics", "physics")
    roster.refresh()
    assert [str(each.record.repository) for each in roster.owned("sub-alice", {"physics"})] == [
        "alice.example.org",
        str(physics),
    ]
    assert roster.owned("physics", ()) == []  # a person whose subject is the name of a group
    assert roster.owned("sub-carol", {"chemistry"}) == []


def test_pages_go_on_behind_a_name(registry: CountingRegistry, roster: Roster) -> None:
    names = [_add(registry, f"user{number}") for number in range(5)]
    roster.refresh()
    assert [each.record.repository for each in roster.after(names[1], 2)] == names[2:4]
    assert roster.after(names[4], 2) == []


def test_a_thread_reads_by_itself_until_it_is_closed(registry: CountingRegistry) -> None:
    name = _add(registry, "alice")
    roster = Roster(registry, _no_reader)
    roster.start()
    roster.start()
    try:
        while roster.get(name) is None:
            pass
    finally:
        roster.close()
    assert roster._thread is not None
    assert not roster._thread.is_alive()


def test_a_search_looks_at_names_and_owners(registry: CountingRegistry, roster: Roster) -> None:
    for label in ("alice", "bob", "physics-alice"):
        _add(registry, label)
    registry.put(
        RegistryRecord(RepositoryName("genomics", "example.org"), Owner("alice", "sub", Kind.GROUP, "genomics"))
    )
    roster.refresh()
    found = [known.record.repository.label for known in roster.after(None, 10, "ALI")]
    assert found == ["alice", "genomics", "physics-alice"]
    assert len(roster.after(None, 2, "ali")) == 2
