"""Who may do what with a repository."""

import pytest

from softman.errors import Forbidden, NotFound
from softman.identity import Principal
from softman.names import Kind, Owner, RepositoryName
from softman.services.authority import (
    Action,
    Relation,
    allowed,
    relations,
    require,
    require_admin,
    require_member,
)

NAME = RepositoryName("alice", "example.org")
PERSONAL = Owner("alice", "sub-alice")
GROUP = Owner("alice", "sub-alice", Kind.GROUP, "physics")
ALICE = Principal("sub-alice", "alice")
MEMBER = Principal("sub-bob", "bob", frozenset({"physics"}))
MANAGER = Principal("sub-carol", "carol", frozenset({"physics"}), frozenset({"physics"}))
ADMIN = Principal("sub-root", "root", admin=True)
STRANGER = Principal("sub-eve", "eve", frozenset({"chemistry"}), frozenset({"chemistry"}))

YES, NO = True, False
EXPECTED = {  # action: owner of a personal one, then member, manager, administrator, stranger of a group's
    Action.SEE: (YES, YES, YES, YES, NO),
    Action.UPLOAD: (YES, YES, YES, NO, NO),
    Action.RESYNC: (YES, YES, YES, YES, NO),
    Action.ROLL_BACK: (YES, NO, YES, YES, NO),
    Action.RETIRE: (YES, NO, YES, YES, NO),
    Action.RESTORE: (YES, NO, YES, YES, NO),
    Action.PUBLISHER_KEYS: (YES, NO, YES, NO, NO),
    Action.SET_QUOTAS: (NO, NO, NO, YES, NO),
}
PEOPLE = ((ALICE, PERSONAL), (MEMBER, GROUP), (MANAGER, GROUP), (ADMIN, GROUP), (STRANGER, GROUP))


def test_the_table_is_complete() -> None:
    assert set(EXPECTED) == set(Action)


@pytest.mark.parametrize(
    ("who", "owner", "action", "possible"),
    [(*person, action, row[at]) for action, row in EXPECTED.items() for at, person in enumerate(PEOPLE)],
)
def test_each_may_do_what_the_table_says(who: Principal, owner: Owner, action: Action, possible: bool) -> None:
    assert (action in allowed(who, owner)) is possible
    if possible:
        require(who, owner, action, NAME)
    elif allowed(who, owner):
        with pytest.raises(Forbidden, match="is for"):
            require(who, owner, action, NAME)
    else:
        with pytest.raises(NotFound, match="that you may see"):
            require(who, owner, action, NAME)


@pytest.mark.parametrize(
    "who",
    [
        STRANGER,
        Principal("sub-other", "alice"),  # the same user name, given to another person
        Principal("", "alice"),
        Principal("physics", "physics"),  # a person called like the group
    ],
)
def test_strangers_are_nothing_to_anybody(who: Principal) -> None:
    assert relations(who, PERSONAL) == relations(who, GROUP) == frozenset()


def test_who_made_a_group_repository_has_no_rights_after_leaving_the_group() -> None:
    assert relations(ALICE, GROUP) == frozenset()


def test_an_owner_who_administrates_may_do_what_either_may() -> None:
    both = Principal("sub-alice", "alice", admin=True)
    assert relations(both, PERSONAL) == {Relation.OWNER, Relation.ADMIN}
    assert allowed(both, PERSONAL) == frozenset(Action)


def test_refusals_say_who_may() -> None:
    with pytest.raises(Forbidden, match="managers of the group physics and administrators"):
        require(MEMBER, GROUP, Action.RETIRE, NAME)
    with pytest.raises(Forbidden, match=r"for its owner$"):
        require(ADMIN, PERSONAL, Action.PUBLISHER_KEYS, NAME)


def test_groups_and_administration() -> None:
    require_admin(ADMIN)
    require_member(MEMBER, "physics")
    require_member(Principal("sub-dan", "dan", managed=frozenset({"physics"})), "physics")
    for who in (ADMIN, STRANGER):
        with pytest.raises(Forbidden):
            require_member(who, "physics")
    with pytest.raises(Forbidden):
        require_admin(MANAGER)
