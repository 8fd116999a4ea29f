"""What claims mean: groups in every spelling of the field, managers, admins, names."""

from typing import Any

import pytest

from softman.dashboard.auth.claims import Membership, claim, parse_group, principal
from softman.errors import InvalidInput
from softman.identity import Principal
from softman.settings_dashboard import ClaimSettings

PREFIX = "urn:geant:example.org:group:"
DOMAIN = "example.org"


def _who(claims: dict[str, Any], **settings: Any) -> Principal:
    given = ClaimSettings(entitlement_prefixes=(PREFIX,), **settings)
    return principal({"sub": "s", "preferred_username": "alice", **claims}, given, DOMAIN)


@pytest.mark.parametrize(
    ("text", "path", "role"),
    [
        ("physics", ("physics",), ""),
        ("/physics", ("physics",), ""),
        ("/physics/managers", ("physics", "managers"), ""),
        ("/physics/Role=manager", ("physics",), "manager"),
        ("/physics/Role=NULL/Capability=NULL", ("physics",), ""),
        ("/physics/Role=manager/Capability=NULL", ("physics",), "manager"),
        (PREFIX + "physics", ("physics",), ""),
        (PREFIX + "physics#aai.example.org", ("physics",), ""),
        (PREFIX + "physics:role=manager#aai.example.org", ("physics",), "manager"),
        (PREFIX + "physics:managers", ("physics", "managers"), ""),
        (PREFIX + "high%20energy", ("high energy",), ""),
    ],
)
def test_a_group_is_read_in_every_spelling(text: str, path: tuple[str, ...], role: str) -> None:
    assert parse_group(text, [PREFIX]) == Membership(path, role)


@pytest.mark.parametrize(
    "text",
    ["", "/", "//physics", "/physics/", "/Role=manager", "urn:geant:elsewhere.org:group:physics", "URN:geant:x", "urn:",
     PREFIX, PREFIX + "a%2Fb", PREFIX + "a:role=x:b", "/physics/Role=x/y", "a\nb", PREFIX + "a%0Ab"],
)  # fmt: skip
def test_what_is_no_group_is_none(text: str) -> None:
    assert parse_group(text, [PREFIX]) is None


@pytest.mark.parametrize("group", ["/physics/managers", "/physics/Role=manager", PREFIX + "physics:role=manager#x"])
def test_a_manager_is_a_member(group: str) -> None:
    who = _who({"groups": [group]})
    assert (set(who.groups), set(who.managed)) == ({"physics"}, {"physics"})


@pytest.mark.parametrize(
    "group",
    ["/physics/students", "/physics/x/Role=manager", "/physics/sub/managers", "/x/physics", "physics/managers/x"],
)
def test_a_part_of_a_group_is_not_the_group(group: str) -> None:
    who = _who({"groups": [group]})
    assert not who.groups | who.managed


@pytest.mark.parametrize(
    ("claims", "groups"),
    [
        ({"groups": ["a-group", "b-group"], "wlcg.groups": ["/c-group"]}, {"a-group", "b-group", "c-group"}),
        ({"entitlements": [PREFIX + "physics#x"]}, {"physics"}),
        ({"eduperson_entitlement": PREFIX + "physics#x"}, {"physics"}),
        ({"groups": "physics"}, {"physics"}),
        ({"groups": ["Physics", "no", "under_score", "x" * 60, "a.b"]}, set()),
        ({"groups": {"physics": 1}}, set()),
        ({"groups": [7, None, ["physics"], True]}, set()),
        ({"groups": None}, set()),
    ],
)
def test_groups_come_from_all_claims_and_nothing_odd(claims: dict[str, Any], groups: set[str]) -> None:
    assert _who(claims).groups == groups


def test_whoever_has_a_role_in_a_group_is_a_member() -> None:
    who = _who({"groups": ["/physics/Role=production"]})
    assert who.groups == {"physics"}
    assert not who.managed


def test_groups_of_others_are_none_of_ours_below_a_root() -> None:
    who = _who({"groups": ["/cloud/physics", "/physics", "/cloud", "/other/biology"]}, group_root="/cloud")
    assert who.groups == {"physics"}


@pytest.mark.parametrize(
    ("setting", "group", "admin"),
    [
        ("softman-admins", "/softman-admins", True),
        ("softman-admins", "softman-admins", True),
        ("/cloud/admins", "/cloud/admins", True),
        ("cloud/admins", "/cloud/admins", True),
        ("softman-admins", "/x/softman-admins", False),
        ("softman-admins", "/softman-admins/sub", False),
        ("softman-admins", "/softman-admins/Role=guest", False),
        ("", "", False),
        ("", "/", False),
    ],
)
def test_admins_are_in_their_group_itself(setting: str, group: str, admin: bool) -> None:
    assert _who({"groups": [group]}, admin_group=setting).admin is admin


def test_names_of_claims_may_lead_inside() -> None:
    claims = {"realm_access": {"roles": ["a"]}, "a.b": 1, "a": {"b": 2}, "text": "x"}
    assert claim(claims, "realm_access.roles") == ["a"]
    assert claim(claims, "a.b") == 1
    assert claim(claims, "text.x") is None
    assert claim(claims, "nothing.at.all") is None


@pytest.mark.parametrize(
    "user", ["Alice", "a", "a.b", "al ice", "-alice", "alice\n", "x" * 50, "", 7, None, ["alice"], "al/ce"]
)
def test_a_user_name_that_is_no_label_is_refused(user: Any) -> None:
    with pytest.raises(InvalidInput):
        _who({"preferred_username": user})


@pytest.mark.parametrize("subject", ["groups", "softman", "a/b", "", None, 7, "a b", "\x00"])
def test_a_subject_that_is_no_path_is_refused(subject: Any) -> None:
    with pytest.raises(InvalidInput):
        _who({"sub": subject})


def test_an_alias_wins_over_the_name() -> None:
    assert _who({"preferred_username": "Dora X"}, aliases=("s=dora",)).user == "dora"


@pytest.mark.parametrize("alias", ["", "dora", "=dora", "s="])
def test_an_alias_has_two_parts(alias: str) -> None:
    with pytest.raises(ValueError, match="is not subject=name"):
        ClaimSettings(aliases=(alias,))


def test_control_characters_never_leave_the_display_name() -> None:
    assert _who({"name": "Al\x1b[31mice\r\nINFO forged\u202e" + "x" * 500}).name.startswith("Al[31miceINFO forgedxxx")
    assert len(_who({"name": "x" * 500}).name) == 100
    assert _who({"name": ["x"]}).name == ""
