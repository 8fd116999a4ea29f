"""The AppRole auth method: roles, role ids, secret ids that end by time or number of uses, and login."""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from softman.errors import InvalidInput, NotFound
from softman.standalone.vault_standin.kv import timestamp
from softman.standalone.vault_standin.state import Role, SecretId, State, fingerprint
from softman.standalone.vault_standin.tokens import DEFAULT_TTL, Grant, TokenStore, new_id
from softman.standalone.vault_standin.wire import (
    NO_CONTENT,
    Reply,
    auth_reply,
    data_reply,
    flag,
    number,
    seconds,
    texts,
)

INVALID_CREDENTIALS = "invalid role or secret ID"
_UNSUPPORTED = (
    "enable_local_secret_ids",
    "local_secret_ids",
    "policies",
    "secret_id_bound_cidrs",
    "token_bound_cidrs",
    "token_explicit_max_ttl",
    "token_period",
)


class AppRole:
    """The AppRole methods of one state; ``mount`` is the path one of them is enabled at."""

    def __init__(self, state: State, tokens: TokenStore, clock: Callable[[], float]) -> None:
        self._state = state
        self._tokens = tokens
        self._clock = clock

    def exists(self, mount: str, name: str) -> bool:
        """Whether the role is there, which decides between the capabilities ``create`` and ``update``."""
        return f"{mount}/{name}" in self._state.roles

    def write_role(self, mount: str, name: str, body: Mapping[str, Any]) -> Reply:
        """``POST role/<name>``: make it, or change what the body names.

        Raises:
            InvalidInput: a value is wrong, or belongs to a feature this stand-in does not have.
        """
        for parameter in _UNSUPPORTED:
            if body.get(parameter):
                msg = f"{parameter} is not supported by this stand-in"
                raise InvalidInput(msg)
        if body.get("token_type") not in (None, "default", "default-service", "service"):
            msg = "only service tokens are supported by this stand-in"
            raise InvalidInput(msg)
        old = self._state.roles.get(f"{mount}/{name}") or Role(role_id=new_id("role"))
        role = Role(
            role_id=old.role_id,
            bind_secret_id=flag(body, "bind_secret_id", old.bind_secret_id),
            secret_id_num_uses=number(body, "secret_id_num_uses", old.secret_id_num_uses),
            secret_id_ttl=seconds(body, "secret_id_ttl", old.secret_id_ttl),
            token_policies=texts(body, "token_policies", old.token_policies),
            token_ttl=seconds(body, "token_ttl", old.token_ttl),
            token_max_ttl=seconds(body, "token_max_ttl", old.token_max_ttl),
            token_num_uses=number(body, "token_num_uses", old.token_num_uses),
            token_no_default_policy=flag(body, "token_no_default_policy", old.token_no_default_policy),
        )
        if role.token_max_ttl and role.token_ttl > role.token_max_ttl:
            msg = '"token_ttl" cannot be greater than "token_max_ttl"'
            raise InvalidInput(msg)
        self._state.roles[f"{mount}/{name}"] = role
        return NO_CONTENT

    def read_role(self, mount: str, name: str) -> Reply:
        """``GET role/<name>``."""
        shown = asdict(self._role(mount, name))
        del shown["role_id"]
        return data_reply({**shown, "local_secret_ids": False, "token_type": "default", "token_period": 0})

    def list_roles(self, mount: str) -> Reply:
        """``LIST role``."""
        names = [name.removeprefix(f"{mount}/") for name in self._state.roles if name.startswith(f"{mount}/")]
        return _keys(names)

    def delete_role(self, mount: str, name: str) -> Reply:
        """``DELETE role/<name>``, with its secret ids."""
        full = f"{mount}/{name}"
        self._state.roles.pop(full, None)
        for key in [key for key, entry in self._state.secret_ids.items() if entry.role == full]:
            del self._state.secret_ids[key]
        return NO_CONTENT

    def read_role_id(self, mount: str, name: str) -> Reply:
        """``GET role/<name>/role-id``."""
        return data_reply({"role_id": self._role(mount, name).role_id})

    def write_role_id(self, mount: str, name: str, body: Mapping[str, Any]) -> Reply:
        """``POST role/<name>/role-id``."""
        role_id = str(body.get("role_id") or "")
        if not role_id:
            msg = "missing role_id"
            raise InvalidInput(msg)
        self._role(mount, name).role_id = role_id
        return NO_CONTENT

    def make_secret_id(self, mount: str, name: str, body: Mapping[str, Any], *, custom: bool = False) -> Reply:
        """``POST role/<name>/secret-id`` and ``.../custom-secret-id``.

        Raises:
            InvalidInput: the role does not exist, the custom secret id is missing or taken.
        """
        role = self._state.roles.get(f"{mount}/{name}")
        secret_id = str(body.get("secret_id") or "") if custom else new_id("secret")
        if role is None or not secret_id or fingerprint(secret_id) in self._state.secret_ids:
            msg = f'role "{name}" does not exist' if role is None else "secret_id is missing or taken"
            raise InvalidInput(msg)
        now = self._clock()
        ttl = seconds(body, "ttl", role.secret_id_ttl)
        entry = SecretId(
            role=f"{mount}/{name}",
            accessor=secrets.token_hex(12),
            created=now,
            ttl=ttl,
            num_uses=number(body, "num_uses", role.secret_id_num_uses),
            expires=now + ttl if ttl else None,
            metadata=_metadata(body),
        )
        self._state.secret_ids[fingerprint(secret_id)] = entry
        return data_reply(
            {
                "secret_id": secret_id,
                "secret_id_accessor": entry.accessor,
                "secret_id_num_uses": entry.num_uses,
                "secret_id_ttl": entry.ttl,
            }
        )

    def list_secret_ids(self, mount: str, name: str) -> Reply:
        """``LIST role/<name>/secret-id``: accessors."""
        self._role(mount, name)
        self._sweep()
        full = f"{mount}/{name}"
        return _keys([entry.accessor for entry in self._state.secret_ids.values() if entry.role == full])

    def lookup_secret_id(self, mount: str, name: str, body: Mapping[str, Any]) -> Reply:
        """``POST role/<name>/secret-id/lookup``; 204 when there is none, as a real server answers."""
        entry = self._secret_id(f"{mount}/{name}", str(body.get("secret_id") or ""))
        if entry is None:
            return NO_CONTENT
        return data_reply(
            {
                "cidr_list": [],
                "creation_time": timestamp(entry.created),
                "expiration_time": timestamp(entry.expires) if entry.expires else "0001-01-01T00:00:00Z",
                "metadata": entry.metadata,
                "secret_id_accessor": entry.accessor,
                "secret_id_num_uses": entry.num_uses,
                "secret_id_ttl": entry.ttl,
                "token_bound_cidrs": [],
            }
        )

    def destroy_secret_id(self, mount: str, name: str, body: Mapping[str, Any]) -> Reply:
        """``POST role/<name>/secret-id/destroy``."""
        secret_id = str(body.get("secret_id") or "")
        if self._secret_id(f"{mount}/{name}", secret_id) is not None:
            del self._state.secret_ids[fingerprint(secret_id)]
        return NO_CONTENT

    def destroy_accessor(self, mount: str, name: str, body: Mapping[str, Any]) -> Reply:
        """``POST role/<name>/secret-id-accessor/destroy``.

        Raises:
            NotFound: no secret id of the role has this accessor.
        """
        for key, entry in self._state.secret_ids.items():
            if entry.role == f"{mount}/{name}" and entry.accessor == body.get("secret_id_accessor"):
                del self._state.secret_ids[key]
                return NO_CONTENT
        msg = "failed to find accessor entry for secret_id_accessor"
        raise NotFound(msg)

    def login(self, mount: str, body: Mapping[str, Any]) -> Reply:
        """``POST login``.

        Raises:
            InvalidInput: role id or secret id are missing or wrong, or the secret id is expired or used up.
        """
        role_id = str(body.get("role_id") or "").strip()
        found = [
            (full, role)
            for full, role in self._state.roles.items()
            if full.rpartition("/")[0] == mount and role.role_id == role_id
        ]
        if not role_id or not found:
            msg = INVALID_CREDENTIALS if role_id else "missing role_id"
            raise InvalidInput(msg)
        full, role = found[0]
        name = full.rpartition("/")[2]
        meta = self._spend_secret_id(full, str(body.get("secret_id") or "").strip()) if role.bind_secret_id else {}
        default = set() if role.token_no_default_policy else {"default"}
        text, token = self._tokens.issue(
            Grant(
                policies=sorted({*role.token_policies, *default}),
                path=f"auth/{mount}/login",
                display_name=mount,
                ttl=role.token_ttl or DEFAULT_TTL,
                max_ttl=role.token_max_ttl,
                num_uses=role.token_num_uses,
                role=full,
                meta={**meta, "role_name": name},
            )
        )
        return auth_reply(self._tokens.auth_of(text, token))

    def _spend_secret_id(self, role: str, secret_id: str) -> dict[str, str]:
        if not secret_id:
            msg = "missing secret_id"
            raise InvalidInput(msg)
        entry = self._secret_id(role, secret_id)
        if entry is None:
            raise InvalidInput(INVALID_CREDENTIALS)
        if entry.num_uses == 1:
            del self._state.secret_ids[fingerprint(secret_id)]
        elif entry.num_uses:
            entry.num_uses -= 1
        return entry.metadata

    def _secret_id(self, role: str, secret_id: str) -> SecretId | None:
        self._sweep()
        entry = self._state.secret_ids.get(fingerprint(secret_id))
        return entry if entry is not None and entry.role == role else None

    def _sweep(self) -> None:
        now = self._clock()
        for key in [key for key, entry in self._state.secret_ids.items() if entry.expires and entry.expires <= now]:
            del self._state.secret_ids[key]

    def _role(self, mount: str, name: str) -> Role:
        role = self._state.roles.get(f"{mount}/{name}")
        if role is None:
            raise NotFound("")
        return role


def _keys(names: list[str]) -> Reply:
    if not names:
        raise NotFound("")
    return data_reply({"keys": sorted(names)})


def _metadata(body: Mapping[str, Any]) -> dict[str, str]:
    try:
        found = json.loads(body.get("metadata") or "{}")
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        msg = "metadata must be JSON text of a map of text"
        raise InvalidInput(msg)
    return found
