"""What owners have in several repositories: what exceeds the limit is refused by publisher and stratum 0."""

from dataclasses import replace
from datetime import timedelta

import pytest

from softman.adapters.memory_vault import MemoryKeyVault, MemoryRegistry
from softman.adapters.vault_layout import Role
from softman.cvmfs.reader import RepositoryReader
from softman.errors import CandidateRefused
from softman.model import RegistryRecord, Usage
from softman.names import Kind, RepositoryName
from softman.services.holdings import Holdings, OwnerLimits
from tests.support.world import World

pytestmark = pytest.mark.slow
TEAM = "team"


class Site:
    """A world in which alice has a repository of her own and the one of a group, and bob has his."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reads: list[RepositoryName] = []
        self.broken = False
        self.alice = world.provision("alice")
        self.team = world.provision("alice", TEAM)
        self.bob = world.provision("bob")

    def limit(self, **limits: int) -> Holdings:
        """From now on owners are limited."""
        limit = OwnerLimits(**limits)
        for role in (Role.STRATUM0, Role.PUBLISHER):
            holdings = self.holdings(role, limit)
            if role is Role.STRATUM0:
                self.world.stratum0._owner_quota = holdings.quota
            else:
                self.world.publisher._owner_quota = holdings.quota
        return holdings

    def holdings(self, role: Role, limits: OwnerLimits) -> Holdings:
        world = self.world
        registry, vault = MemoryRegistry(role, world.vault), MemoryKeyVault(role, world.vault)
        return Holdings(registry, vault, self.reader, limits, clock=world.clock.unix)

    def reader(self, name: RepositoryName, public_keys: tuple[bytes, ...]) -> RepositoryReader:
        self.reads.append(name)
        return self.world.reader(name, (b"broken",) if self.broken else public_keys)

    def record(self, name: RepositoryName) -> RegistryRecord:
        record = MemoryRegistry(Role.PUBLISHER, self.world.vault).get(name)
        assert record is not None
        return record

    def put(self, name: RepositoryName, **files: int) -> dict[str, str]:
        """Publish files of so many bytes; what was refused, with the reasons."""
        for key, size in files.items():
            self.world.buckets.put(name.bucket, f"cvmfs/{key}", key.encode() * size)
        self.world.sync(name, *(f"cvmfs/{key}" for key in files))
        return {each.key.removeprefix("cvmfs/"): each.reason for each in self.world.records.refusals(name)}


@pytest.fixture
def site(world: World) -> Site:
    return Site(world)


def test_bytes_of_all_repositories_count(site: Site) -> None:
    site.limit(bytes=100, seconds=0)
    assert site.put(site.team, a=60) == {}
    assert site.put(site.alice, b=30, c=20) == {
        "c": "quota: all repositories of alice together would have 110 bytes; 100 are possible"
    }
    assert site.put(site.bob, d=99) == {}
    assert site.world.shown(site.alice).keys() == {"/b"}


def test_entries_of_all_repositories_count(site: Site) -> None:
    site.limit(entries=7, seconds=0)  # the roots are entries, too
    site.put(site.team, a=1, b=1, c=1)
    refused = site.put(site.alice, d=1, e=1, f=1)
    assert refused == {"f": "quota: all repositories of alice together would have 8 entries; 7 are possible"}


def test_room_made_in_one_repository_is_there_in_the_other(site: Site) -> None:
    site.limit(bytes=100, seconds=0)
    site.put(site.team, a=60)
    assert site.put(site.alice, b=50).keys() == {"b"}
    site.world.buckets.delete(TEAM, "cvmfs/a")
    site.world.sync(site.team, "cvmfs/a")
    site.world.sync(site.alice)
    assert site.world.shown(site.alice).keys() == {"/b"}
    assert site.world.records.refusals(site.alice) == []


def test_who_has_too_much_may_still_remove_and_shrink(site: Site) -> None:
    site.put(site.team, a=60)
    site.put(site.alice, b=50, c=50)
    site.limit(bytes=100, seconds=0)
    site.world.buckets.delete("alice", "cvmfs/c")
    assert site.put(site.alice, b=40, c=0, e=1).keys() == {"e"}
    assert {path: len(data or b"") for path, data in site.world.shown(site.alice).items()} == {"/b": 40, "/c": 0}


def test_stratum0_refuses_what_a_publisher_lets_through(site: Site) -> None:
    site.limit(bytes=100, seconds=0)
    site.world.publisher = site.world.make_publisher()  # one that does not care
    site.put(site.team, a=60)
    with pytest.raises(CandidateRefused, match=r"quota: 50 bytes .*, 40 are possible; other repositories"):
        site.put(site.alice, b=50)
    assert site.world.shown(site.alice) == {}


def test_nothing_is_asked_without_a_limit(site: Site) -> None:
    assert site.limit().quota(site.record(site.alice)) is None
    assert site.reads == []


def test_it_is_remembered_for_a_while_and_read_again_when_it_changed(site: Site) -> None:
    holdings = site.limit(bytes=1000, seconds=30)

    def others() -> Usage:
        quota = holdings.quota(site.record(site.alice))
        assert quota is not None
        return quota.others

    site.put(site.team, a=60)
    site.reads.clear()
    site.world.clock.now += timedelta(seconds=31)
    assert others() == Usage(2, 60)
    site.put(site.team, b=10)
    assert others() == Usage(2, 60)
    assert site.reads.count(site.team) == 1
    site.world.clock.now += timedelta(seconds=31)
    assert others() == Usage(3, 70)


def test_a_repository_that_cannot_be_read_counts_as_it_was(site: Site) -> None:
    holdings = site.limit(bytes=1000, seconds=0)
    site.put(site.team, a=60)
    known = holdings.quota(site.record(site.alice))
    site.broken = True
    assert known is not None
    assert known.others.bytes == 60
    assert holdings.quota(site.record(site.alice)) == known
    fresh = site.holdings(Role.PUBLISHER, OwnerLimits(bytes=1000)).quota(site.record(site.alice))
    assert fresh == replace(known, others=Usage(0, 0))


def test_a_repository_that_is_not_made_yet_counts_nothing(site: Site) -> None:
    site.world.stratum0.request("alice", "sub-alice", Kind.GROUP, "later")
    quota = site.limit(bytes=1000).quota(site.record(site.alice))
    assert quota is not None
    assert quota.others == Usage(1, 0)
