"""Who may do what with a repository: one table of relations and actions. Pure; asked before anything else is.

A relation says what a person is to a repository. The owner of a personal repository is known by the subject of the
login, which never changes; names of users and groups may. An administrator sees everything and can mend it, but neither
puts files into other people's buckets nor takes their keys.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from softman.errors import Forbidden, NotFound
from softman.identity import Principal
from softman.names import Kind, Owner, RepositoryName


class Relation(StrEnum):
    """What a person is to a repository; whoever is several of these may do what any of them may."""

    OWNER = "owner"
    """Of a personal repository."""
    MEMBER = "member"
    """Of the group of a group repository."""
    MANAGER = "manager"
    """Of that group."""
    ADMIN = "admin"
    """Of the service."""


class Action(StrEnum):
    """What can be done with a repository."""

    SEE = "see"
    """How it stands, its syncs and problems, its content and its past; its public key."""
    UPLOAD = "upload"
    """Put files into its bucket through the dashboard."""
    RESYNC = "resync"
    ROLL_BACK = "roll-back"
    RETIRE = "retire"
    RESTORE = "restore"
    PUBLISHER_KEYS = "publisher-keys"
    """Take the keys that a publisher of one's own needs."""
    SET_QUOTAS = "set-quotas"


_OWN: Final = frozenset(Action) - {Action.SET_QUOTAS}
TABLE: Final[Mapping[Relation, frozenset[Action]]] = {
    Relation.OWNER: _OWN,
    Relation.MEMBER: frozenset({Action.SEE, Action.UPLOAD, Action.RESYNC}),
    Relation.MANAGER: _OWN,
    Relation.ADMIN: frozenset(Action) - {Action.UPLOAD, Action.PUBLISHER_KEYS},
}
"""What each relation may do. Whoever has none may do nothing."""


def relations(who: Principal, owner: Owner) -> frozenset[Relation]:
    """What a person is to the repositories of an owner; empty for a stranger."""
    found = {Relation.ADMIN} if who.admin else set()
    if owner.kind is Kind.PERSONAL:
        if owner.subject == who.subject:
            found.add(Relation.OWNER)
    elif owner.group in who.managed:
        found.add(Relation.MANAGER)
    elif owner.group in who.groups:
        found.add(Relation.MEMBER)
    return frozenset(found)


def allowed(who: Principal, owner: Owner) -> frozenset[Action]:
    """What a person may do with the repositories of an owner."""
    return frozenset().union(*(TABLE[relation] for relation in relations(who, owner)))


def require(who: Principal, owner: Owner, action: Action, name: RepositoryName) -> None:
    """Go on only when a person may do this.

    Raises:
        NotFound: they may not even see the repository: whether there is one is not told.
        Forbidden: they see it, and may not do this.
    """
    possible = allowed(who, owner)
    if Action.SEE not in possible:
        raise unknown(name)
    if action not in possible:
        msg = f"{_WORDS[action]} {name} is for {_whom(action, owner)}"
        raise Forbidden(msg)


def require_admin(who: Principal) -> None:
    """Go on only for an administrator.

    Raises:
        Forbidden: it is none.
    """
    if not who.admin:
        msg = "this is for administrators of the service"
        raise Forbidden(msg)


def require_member(who: Principal, group: str) -> None:
    """Go on only for a member or manager of a group, who may ask for the group's repository.

    Raises:
        Forbidden: it is neither.
    """
    if group not in who.groups | who.managed:
        msg = f"only members of the group {group[:80]} may ask for its repository"
        raise Forbidden(msg)


def unknown(name: object) -> NotFound:
    """The same for a repository that is not there and for one that a person may not see."""
    return NotFound(f"there is no repository {str(name)[:80]} that you may see")


_WORDS: Final[Mapping[Action, str]] = {
    Action.SEE: "to see",
    Action.UPLOAD: "to upload to",
    Action.RESYNC: "to compare again",
    Action.ROLL_BACK: "to roll back",
    Action.RETIRE: "to retire",
    Action.RESTORE: "to restore",
    Action.PUBLISHER_KEYS: "to take the publisher keys of",
    Action.SET_QUOTAS: "to set the quotas of",
}


def _whom(action: Action, owner: Owner) -> str:
    words = {
        Relation.OWNER: "its owner",
        Relation.MEMBER: f"members of the group {owner.group}",
        Relation.MANAGER: f"managers of the group {owner.group}",
        Relation.ADMIN: "administrators of the service",
    }
    there = {Relation.MEMBER, Relation.MANAGER} if owner.kind is Kind.GROUP else {Relation.OWNER}
    able = [words[each] for each in Relation if action in TABLE[each] and each in there | {Relation.ADMIN}]
    return " and ".join(able)
