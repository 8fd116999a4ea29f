"""``sys/``: health, sealing, mounts, auth methods and policies."""

import hmac
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from softman.errors import InvalidInput, NotFound
from softman.standalone.vault_standin import wire as w
from softman.standalone.vault_standin.policy import parse_policy
from softman.standalone.vault_standin.state import Mount, State

PRODUCT_VERSION = "1.0.0+softman-standin"
"""What ``sys/health`` shows as version: nobody should take this for a real server."""

DEFAULT_POLICY = """
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
"""
"""What every token may do with itself, the part of Vault's default policy that there is something for here."""

_RESERVED_MOUNTS = ("sys", "auth", "cubbyhole", "identity")
_DEFAULT_CODES = {"sealedcode": 503, "activecode": 200}


class SystemBackend:
    """The system backend of one state. ``sealed`` is not kept: a restart opens the server, as dev mode does."""

    def __init__(self, state: State, clock: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock
        self.sealed = False

    @property
    def default_policy(self) -> str:
        """The policy ``default``, unless an administrator wrote another one."""
        return "" if "default" in self._state.policies else DEFAULT_POLICY

    def open_handlers(self, request: w.Request) -> dict[str, Callable[[], w.Reply]]:
        """Paths that need no token."""
        table: dict[str, dict[str, Callable[[], w.Reply]]] = {
            "sys/health": {w.READ: partial(self._health, request)},
            "sys/init": {w.READ: lambda: w.Reply(200, {"initialized": True})},
            "sys/seal-status": {w.READ: self._seal_status},
            "sys/unseal": {w.UPDATE: partial(self._unseal, request)},
        }
        return table[request.path]

    def handlers(self, request: w.Request) -> dict[str, Callable[[], w.Reply]]:
        """Paths that need a token, which was checked before."""
        parts = request.path.strip("/").split("/", 2)[1:]
        area = parts[0]
        rest = parts[1] if len(parts) > 1 else ""
        if area == "seal" and not rest:
            return {w.UPDATE: self._seal}
        if area == "mounts":
            return self._mount_handlers(rest, request)
        if area == "auth":
            return self._auth_handlers(rest, request)
        if area == "policies" and (rest == "acl" or rest.startswith("acl/")):
            return self._policy_handlers(rest.removeprefix("acl").strip("/").lower(), request, "policy")
        if area == "policy":
            return self._policy_handlers(rest.lower(), request, "rules")
        return {}

    def _health(self, request: w.Request) -> w.Reply:
        name = "sealedcode" if self.sealed else "activecode"
        status = w.number(request.query, name, _DEFAULT_CODES[name])
        body = {
            "initialized": True,
            "sealed": self.sealed,
            "standby": False,
            "performance_standby": False,
            "replication_performance_mode": "disabled",
            "replication_dr_mode": "disabled",
            "server_time_utc": int(self._clock()),
            "version": PRODUCT_VERSION,
            "cluster_name": "softman-standin",
            "cluster_id": self._state.cluster_id,
        }
        return w.Reply(status, body)

    def _seal_status(self) -> w.Reply:
        body = {
            "type": "shamir",
            "initialized": True,
            "sealed": self.sealed,
            "t": 1,
            "n": 1,
            "progress": 0,
            "nonce": "",
            "version": PRODUCT_VERSION,
            "build_date": datetime.fromtimestamp(0, UTC).isoformat(),
            "migration": False,
            "recovery_seal": False,
            "storage_type": "file",
        }
        return w.Reply(200, body)

    def _seal(self) -> w.Reply:
        self.sealed = True
        return w.NO_CONTENT

    def _unseal(self, request: w.Request) -> w.Reply:
        key = str(request.body.get("key") or "")
        if not w.flag(request.body, "reset", default=False):
            if not key:
                msg = "'key' must be specified in request body as JSON, or 'reset' set to true"
                raise InvalidInput(msg)
            if not hmac.compare_digest(key.encode(), self._state.unseal_key.encode()):
                msg = "Unseal failed, invalid key"
                raise InvalidInput(msg)
            self.sealed = False
        return self._seal_status()

    def _mount_handlers(self, path: str, request: w.Request) -> dict[str, Callable[[], w.Reply]]:
        path = path.strip("/")
        if not path:
            return {w.READ: self._list_mounts}
        if path.endswith("/tune"):
            return {w.READ: partial(self._read_tune, path.removesuffix("/tune"))}
        return {
            w.READ: partial(self._read_mount, path),
            w.UPDATE: partial(self._enable_mount, path, request),
            w.DELETE: partial(self._disable_mount, path),
        }

    def _list_mounts(self) -> w.Reply:
        found: dict[str, Any] = {f"{path}/": _shown(mount) for path, mount in sorted(self._state.mounts.items())}
        found["sys/"] = {"type": "system", "accessor": "system_standin", "description": "", "options": None}
        return _beside(found)

    def _read_mount(self, path: str) -> w.Reply:
        return _beside(_shown(self._mount(path)))

    def _read_tune(self, path: str) -> w.Reply:
        shown = _shown(self._mount(path))
        return _beside({"description": shown["description"], "options": shown["options"], **shown["config"]})

    def _mount(self, path: str) -> Mount:
        mount = self._state.mounts.get(path)
        if mount is None:
            msg = "No secret engine mount at " + path + "/"
            raise InvalidInput(msg)
        return mount

    def _enable_mount(self, path: str, request: w.Request) -> w.Reply:
        kind = request.body.get("type")
        version = str(w.mapping(request.body, "options").get("version") or "1")
        if kind != "kv-v2" and not (kind == "kv" and version == "2"):
            msg = "only the secrets engine kv with version 2 is supported by this stand-in"
            raise InvalidInput(msg)
        if path.split("/", maxsplit=1)[0] in _RESERVED_MOUNTS:
            msg = f'cannot mount "{path}/"'
            raise InvalidInput(msg)
        taken = [old for old in self._state.mounts if f"{old}/".startswith(f"{path}/") or path.startswith(f"{old}/")]
        if taken:
            msg = f"path is already in use at {taken[0]}/"
            raise InvalidInput(msg)
        self._state.mounts[path] = Mount(
            accessor="kv_" + secrets.token_hex(4),
            uuid=secrets.token_hex(16),
            description=str(request.body.get("description") or ""),
        )
        return w.NO_CONTENT

    def _disable_mount(self, path: str) -> w.Reply:
        self._state.mounts.pop(path, None)
        return w.NO_CONTENT

    def _auth_handlers(self, path: str, request: w.Request) -> dict[str, Callable[[], w.Reply]]:
        path = path.strip("/")
        if not path:
            return {w.READ: self._list_auth}
        return {
            w.UPDATE: partial(self._enable_auth, path, request),
            w.DELETE: partial(self._disable_auth, path),
        }

    def _list_auth(self) -> w.Reply:
        found: dict[str, Any] = {
            f"{path}/": {"type": "approle", "accessor": accessor, "description": "", "options": None}
            for path, accessor in sorted(self._state.approle_mounts.items())
        }
        found["token/"] = {"type": "token", "accessor": "auth_token_standin", "description": "", "options": None}
        return _beside(found)

    def _enable_auth(self, path: str, request: w.Request) -> w.Reply:
        if request.body.get("type") != "approle" or "/" in path:
            msg = "only the auth method approle, at a path of one segment, is supported by this stand-in"
            raise InvalidInput(msg)
        if path == "token" or path in self._state.approle_mounts:
            msg = f"path is already in use at {path}/"
            raise InvalidInput(msg)
        self._state.approle_mounts[path] = "auth_approle_" + secrets.token_hex(4)
        return w.NO_CONTENT

    def _disable_auth(self, path: str) -> w.Reply:
        self._state.approle_mounts.pop(path, None)
        for table in (self._state.roles, self._state.secret_ids, self._state.tokens):
            _drop_of_mount(table, path)
        return w.NO_CONTENT

    def _policy_handlers(self, name: str, request: w.Request, field: str) -> dict[str, Callable[[], w.Reply]]:
        if not name:
            return {w.LIST: self._list_policies, w.READ: self._list_policies}
        return {
            w.READ: partial(self._read_policy, name, field),
            w.UPDATE: partial(self._write_policy, name, request),
            w.DELETE: partial(self._delete_policy, name),
        }

    def _list_policies(self) -> w.Reply:
        names = [*sorted({*self._state.policies, "default"}), "root"]
        return w.data_reply({"keys": names, "policies": names})

    def _read_policy(self, name: str, field: str) -> w.Reply:
        text = self.default_policy if name == "default" else ""
        text = self._state.policies.get(name, text)
        if not text and name != "root":
            raise NotFound("")
        return w.data_reply({"name": name, field: text})

    def _write_policy(self, name: str, request: w.Request) -> w.Reply:
        text = request.body.get("policy")
        if name == "root" or not isinstance(text, str) or not text:
            msg = 'cannot update "root" policy' if name == "root" else "'policy' parameter not supplied or empty"
            raise InvalidInput(msg)
        parse_policy(text)
        self._state.policies[name] = text
        return w.NO_CONTENT

    def _delete_policy(self, name: str) -> w.Reply:
        if name in ("root", "default"):
            msg = f'cannot delete "{name}" policy'
            raise InvalidInput(msg)
        self._state.policies.pop(name, None)
        return w.NO_CONTENT


def _drop_of_mount(table: dict[str, Any], mount: str) -> None:
    """Remove roles, secret ids and tokens that belong to an auth method that is switched off."""
    for key, value in list(table.items()):
        role = key if not hasattr(value, "role") else value.role
        if role is not None and role.startswith(f"{mount}/"):
            del table[key]


def _shown(mount: Mount) -> dict[str, Any]:
    return {
        "type": "kv",
        "accessor": mount.accessor,
        "uuid": mount.uuid,
        "description": mount.description,
        "options": {"version": "2"},
        "local": False,
        "seal_wrap": False,
        "external_entropy_access": False,
        "config": {"default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": False},
    }


def _beside(data: dict[str, Any]) -> w.Reply:
    """Some answers of ``sys/`` carry their data twice: in the envelope and beside it."""
    reply = w.data_reply(data)
    return w.Reply(200, {**(reply.body or {}), **data})
