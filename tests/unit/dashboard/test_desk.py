"""The desk: what each person sees and may ask for, and what it says while parts of softman are away."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from softman.dashboard.desk_views import Condition, Part
from softman.errors import Conflict, Forbidden, InvalidInput, NameTaken, NotFound, ServiceUnavailable
from softman.identity import Principal
from softman.model import DeadLetter, Death, Link, LinkProgress, LinkState, Refusal, State
from softman.names import Kind, RepositoryName
from tests.support.desk import ADMIN, ALICE, BOB, CAROL, Office
from tests.support.world import World, make_material


@pytest.fixture(scope="module")
def material() -> dict[str, str]:
    return make_material()


@pytest.fixture
def office(tmp_path: Path, material: dict[str, str]) -> Iterator[Office]:
    office = Office(World(tmp_path, material))
    yield office
    office.browser.close()


@pytest.fixture
def alices(office: Office) -> RepositoryName:
    name = office.world.provision()
    office.publish(name, {"bin/tool": b"#!/bin/sh\n", "README": b"hello"})
    office.look()
    return name


def test_a_person_sees_own_repositories_only(office: Office, alices: RepositoryName) -> None:
    found = office.desk.repositories(ALICE)
    assert [each.name for each in found.items] == [alices]
    assert (found.items[0].condition, found.items[0].revision, found.missing) == (Condition.READY, 2, ())
    assert office.desk.repositories(BOB).items == ()


def test_what_strangers_ask_about_is_not_there(office: Office, alices: RepositoryName) -> None:
    desk, nobodys = office.desk, RepositoryName("nobody", "example.org")
    for name in (alices, nobodys):
        for ask in (
            desk.repository, desk.syncs, desk.pending, desk.refusals, desk.revisions, desk.browse, desk.public_key,
            desk.resync,
        ):  # fmt: skip
            with pytest.raises(NotFound) as refused:
                ask(CAROL, name)
            assert str(refused.value) == f"there is no repository {name} that you may see"
        with pytest.raises(NotFound):
            desk.entry(CAROL, name, b"/README")
        with pytest.raises(NotFound):
            desk.diff(CAROL, name, 1, 2)


def test_one_repository_in_full(office: Office, alices: RepositoryName) -> None:
    office.world.records.set_link(alices, LinkProgress(Link.FIRST_SYNC, LinkState.DONE, 1.0))
    found = office.desk.repository(ALICE, alices)
    assert found.usage is not None
    assert found.usage.bytes == 15
    assert (found.bucket, found.url) == ("alice", "http://cvmfs.example.org/cvmfs/alice.example.org")
    assert found.last is not None
    assert found.last.added == 2


def test_content_revisions_and_differences(office: Office, alices: RepositoryName) -> None:
    desk = office.desk
    assert [item.name for item in desk.browse(ALICE, alices).items] == [b"README", b"bin"]
    assert desk.entry(ALICE, alices, b"/bin/tool").mode == 0o755
    newest = desk.revisions(ALICE, alices).items[0]
    assert newest.current
    assert newest.sync is not None
    assert newest.sync.added == 2
    assert len(desk.diff(ALICE, alices, 1, 2).changes) == 3
    assert desk.public_key(ALICE, alices)[0].startswith(b"-----BEGIN PUBLIC KEY")


def test_refusals_come_in_pages(office: Office, alices: RepositoryName) -> None:
    office.world.records.set_refusals(alices, [Refusal(f"cvmfs/{number}", "why") for number in range(5)], None)
    first = office.desk.refusals(ALICE, alices, limit=3)
    assert (len(first.items), first.after) == (3, "cvmfs/2")
    rest = office.desk.refusals(ALICE, alices, after=first.after, limit=3)
    assert ([each.key for each in rest.items], rest.after) == (["cvmfs/3", "cvmfs/4"], None)


def test_a_repository_is_asked_for_with_one_click(office: Office) -> None:
    office.look()
    own, group = office.desk.requestable(ALICE)
    assert (own.kind, str(own.name), own.exists) == (Kind.PERSONAL, "alice.example.org", False)
    assert (group.kind, group.group, group.problem) == (Kind.GROUP, "physics", "")
    receipt = office.desk.request(ALICE, Kind.PERSONAL)
    office.desk.request(ALICE, Kind.GROUP, "physics")
    assert (str(receipt.repository), receipt.queued) == ("alice.example.org", "broker")
    assert office.wishes.sent == [
        ("softman.provision", ("alice", "sub-alice", "personal", None), "alice"),
        ("softman.provision", ("alice", "sub-alice", "group", "physics"), "alice"),
    ]


def test_what_cannot_be_asked_for_says_why(office: Office, alices: RepositoryName) -> None:
    other = Principal("sub-other", "alice")
    assert "belongs to somebody else" in office.desk.requestable(other)[0].problem
    with pytest.raises(NameTaken):
        office.desk.request(other, Kind.PERSONAL)
    assert "cannot be a repository" in office.desk.requestable(Principal("s", "Dr.Who"))[0].problem
    with pytest.raises(InvalidInput):
        office.desk.request(Principal("s", "Dr.Who"), Kind.PERSONAL)
    with pytest.raises(InvalidInput):
        office.desk.request(ALICE, Kind.GROUP)
    with pytest.raises(Forbidden):
        office.desk.request(CAROL, Kind.GROUP, "physics")
    assert office.desk.requestable(ALICE)[0].exists
    assert office.wishes.sent == []
    assert alices.label == "alice"


def test_an_own_repository_is_there_before_the_next_round(office: Office) -> None:
    office.look()
    name = office.world.stratum0.request("alice", "sub-alice", Kind.PERSONAL, None).repository
    found = office.desk.repository(ALICE, name)
    assert (found.state, found.condition) == (State.REQUESTED, Condition.MAKING)


def test_wishes_wait_while_the_broker_is_away(office: Office, alices: RepositoryName) -> None:
    office.wishes.away = True
    assert office.desk.resync(ALICE, alices, "cvmfs/bin/", verify=True).queued == "outbox"
    assert office.wishes.kept == [("softman.resync", ("alice.example.org", "cvmfs/bin/", True), "alice")]
    with pytest.raises(InvalidInput):
        office.desk.resync(ALICE, alices, "bin/")


def test_changes_of_a_life_are_asked_for_when_they_make_sense(office: Office, alices: RepositoryName) -> None:
    desk, name = office.desk, str(alices)
    with pytest.raises(Conflict, match="not retired"):
        desk.restore(ALICE, alices)
    with pytest.raises(Conflict, match="not paused"):
        desk.resume(ALICE, alices)
    with pytest.raises(Conflict, match="shows revision 2 already"):
        desk.roll_back(ALICE, alices, 2)
    with pytest.raises(NotFound):
        desk.roll_back(ALICE, alices, 9)
    desk.roll_back(ALICE, alices, 1)
    desk.retire(ALICE, alices, keep_content=False)
    desk.set_quotas(ADMIN, alices, {"max_entries": 5})
    with pytest.raises(InvalidInput):
        desk.set_quotas(ADMIN, alices, {"max_something": 5})
    with pytest.raises(Forbidden):
        desk.set_quotas(ALICE, alices, {"max_entries": 5})
    assert office.wishes.sent == [
        ("softman.rollback", (name, 1), "alice"),
        ("softman.retire", (name, False), "alice"),
        ("softman.set_quotas", (name, {"max_entries": 5}), "root"),
    ]


def test_without_redis_what_was_known_is_shown_and_what_is_missing(office: Office, alices: RepositoryName) -> None:
    office.desk.repositories(ALICE)
    office.glances.away = True
    found = office.desk.repositories(ALICE)
    assert found.missing == (Part.REDIS,)
    assert found.items[0].last is not None
    assert office.desk.repository(ALICE, alices).missing == (Part.REDIS,)


def test_before_the_registry_is_read_nobody_is_told_that_something_is_not_there(office: Office) -> None:
    with pytest.raises(ServiceUnavailable, match="not read yet"):
        office.desk.repository(ALICE, RepositoryName("bob", "example.org"))


def test_administrators_see_everything(office: Office, alices: RepositoryName) -> None:
    for number in range(3):
        office.world.stratum0.request(f"user{number}", f"sub-{number}", Kind.PERSONAL, None)
    office.look()
    first = office.desk.all_repositories(ADMIN, limit=2)
    assert ([each.name.label for each in first.items], first.after) == (["alice", "user0"], "user0.example.org")
    rest = office.desk.all_repositories(ADMIN, RepositoryName.parse(first.after or ""), limit=2)
    assert [each.name.label for each in rest.items] == ["user1", "user2"]
    assert office.desk.repository(ADMIN, alices).revision == 2
    overview = office.desk.overview(ADMIN)
    assert (overview.repositories, overview.parts[0].answers) == (4, True)
    assert "no beat runs" in overview.concerns[0]


def test_queues_tell_since_when_something_waits(office: Office) -> None:
    began = office.world.clock.unix()
    office.desk.queues(ADMIN)
    office.world.clock.tick(60)
    publisher, dead = office.desk.queues(ADMIN).items
    assert (publisher.messages, publisher.waiting_since, dead.waiting_since) == (3, began, None)
    assert office.desk.workers(ADMIN).items[0].name == "publisher@host"
    office.operations.away = True
    assert office.desk.queues(ADMIN).missing == office.desk.workers(ADMIN).missing == (Part.BROKER,)
    office.world.clock.tick(60)
    assert not office.desk.health()[0].answers


def test_dead_letters_are_put_back_or_thrown_away(office: Office) -> None:
    for id_ in ("aaaa11", "bbbb22"):
        office.letters.letters.append(
            DeadLetter(id_, "publisher", "softman.resync", "", "[]", (Death(1.0, "", "why"),))
        )
    assert [letter.id for letter in office.desk.dead_letters(ADMIN).items] == ["aaaa11", "bbbb22"]
    assert office.desk.requeue(ADMIN, "aaaa11").queue == "publisher"
    assert office.desk.discard(ADMIN, "bbbb").id == "bbbb22"
    assert office.desk.dead_letters(ADMIN).items == ()
    assert [letter.id for letter in office.letters.returned] == ["aaaa11"]
    with pytest.raises(NotFound):
        office.desk.discard(ADMIN, "cccc")


def test_administration_is_for_administrators(office: Office) -> None:
    desk = office.desk
    for ask in (desk.all_repositories, desk.overview, desk.queues, desk.workers, desk.dead_letters):
        with pytest.raises(Forbidden):
            ask(BOB)
    for change in (desk.requeue, desk.discard):
        with pytest.raises(Forbidden):
            change(BOB, "abcdef")
