"""What an identity provider says about a person, read as a ``Principal``. Pure; the rules are in docs/login.md.

A group comes as a name (``physics``), as a path (``/physics/managers``; Keycloak, and ``wlcg.groups`` of the WLCG token
profile 1.0), with a role (``/physics/Role=manager``; VOMS), or as an entitlement
(``<prefix>physics:managers:role=manager#authority``; AARC-G002 and AARC-G069).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from softman.errors import InvalidInput
from softman.identity import Principal
from softman.names import check_label, check_subject
from softman.settings_dashboard import ClaimSettings

_NAME_LENGTH = 100
_NO_ROLE = "NULL"


@dataclass(frozen=True, slots=True)
class Membership:
    """One group of a person.

    Attributes:
        path: the group, from the top.
        role: in it; empty for plain membership.
    """

    path: tuple[str, ...]
    role: str = ""


def principal(claims: Mapping[str, Any], settings: ClaimSettings, domain: str, *, via: str = "session") -> Principal:
    """Who the claims speak of.

    Args:
        claims: of a verified token.
        settings: what they mean.
        domain: of the repositories; names have to fit into it.
        via: how the claims came.

    Raises:
        InvalidInput: the subject or the user name cannot be used; the message says why.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str):
        msg = "the identity provider gave no subject"
        raise InvalidInput(msg)
    check_subject(subject)
    user = dict(alias.rpartition("=")[::2] for alias in settings.aliases).get(subject, claim(claims, settings.user))
    if not isinstance(user, str):
        msg = f"the identity provider gave no user name (claim {settings.user})"
        raise InvalidInput(msg)
    check_label(user, domain)
    found = frozenset(memberships(claims, settings))
    managed = _labels((one.path[0] for one in found if _manages(one, settings.managers)), domain)
    members = _labels((one.path[0] for one in found if len(one.path) == 1), domain)
    return Principal(
        subject=subject,
        user=user,
        groups=members | managed,
        managed=managed,
        admin=_is_admin(found, settings.admin_group),
        name=_shown(claim(claims, settings.name)),
        via=via,
    )


def claim(claims: Mapping[str, Any], name: str) -> object:
    """The claim ``name``; with dots in it, the one of the whole name or the one in nested objects; else None."""
    if name in claims:
        return claims[name]
    value: object = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def memberships(claims: Mapping[str, Any], settings: ClaimSettings) -> Iterator[Membership]:
    """All groups that the claims name and that the settings know how to read, below the settings' root."""
    root = tuple(filter(None, settings.group_root.split("/")))
    for name in settings.groups:
        value = claim(claims, name)
        texts = value if isinstance(value, list) else [value]
        for text in texts:
            found = parse_group(text, settings.entitlement_prefixes) if isinstance(text, str) else None
            if found is not None and found.path[: len(root)] == root and len(found.path) > len(root):
                yield Membership(found.path[len(root) :], found.role)


def parse_group(text: str, entitlement_prefixes: Iterable[str] = ()) -> Membership | None:
    """Read one group; None when it is none, or an entitlement of somebody else."""
    if text[:4].lower() == "urn:":
        rest = next((text[len(start) :] for start in entitlement_prefixes if text.startswith(start)), None)
        return None if rest is None else _parsed(map(unquote, rest.partition("#")[0].split(":")), "role")
    return _parsed(text.removeprefix("/").split("/"), "Role")


def _parsed(parts: Iterable[str], role_word: str) -> Membership | None:
    path: list[str] = []
    role = ""
    for part in parts:
        word, equals, value = part.partition("=")
        if equals and word == role_word:
            role = "" if value == _NO_ROLE else value
        elif equals and word == "Capability":  # VOMS: never used
            continue
        elif not part or role or "/" in part or not part.isprintable():
            return None
        else:
            path.append(part)
    return Membership(tuple(path), role) if path else None


def _manages(one: Membership, managers: tuple[str, ...]) -> bool:
    if one.role:
        return len(one.path) == 1 and one.role in managers
    return len(one.path) == 2 and one.path[1] in managers  # noqa: PLR2004 - the group and its group of managers


def _is_admin(found: Iterable[Membership], admin_group: str) -> bool:
    path = tuple(filter(None, admin_group.split("/")))
    return bool(path) and Membership(path) in found


def _labels(names: Iterable[str], domain: str) -> frozenset[str]:
    """Those that a repository can be called after."""
    return frozenset(name for name in names if _is_label(name, domain))


def _is_label(name: str, domain: str) -> bool:
    try:
        check_label(name, domain)
    except InvalidInput:
        return False
    return True


def _shown(name: object) -> str:
    return "".join(filter(str.isprintable, name))[:_NAME_LENGTH] if isinstance(name, str) else ""
