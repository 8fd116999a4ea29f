"""The API without HTTP: who asks, may they, and which part answers. One lock, one state, saved after every change."""

import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from softman.errors import Forbidden, InvalidInput, NotFound, SoftmanError
from softman.standalone.vault_standin import kv
from softman.standalone.vault_standin import wire as w
from softman.standalone.vault_standin.approle import AppRole
from softman.standalone.vault_standin.policy import Acl, Capability, parse_policy
from softman.standalone.vault_standin.state import State, Token, dump, fingerprint, load, write_private
from softman.standalone.vault_standin.sysapi import SystemBackend
from softman.standalone.vault_standin.tokens import PERMISSION_DENIED, ROOT, Grant, TokenStore, new_id

_STATUS: tuple[tuple[type[SoftmanError], int], ...] = ((Forbidden, 403), (NotFound, 404), (InvalidInput, 400))
_NEEDS_SUDO = re.compile(r"sys/seal|sys/auth/.+")
_WITHOUT_TOKEN = re.compile(r"sys/(?:health|seal-status|unseal|init)|auth/[^/]+/login")
_WHILE_SEALED = re.compile(r"sys/(?:health|seal-status|unseal|init)")

Handler = Callable[[], w.Reply]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the token as text and as remembered, and what its policies allow."""

    text: str
    token: Token
    acl: Acl

    @property
    def is_root(self) -> bool:
        """Whether the token may do everything."""
        return ROOT in self.token.policies


class StandIn:
    """A whole server in one process.

    Args:
        state_file: where the state is kept; None keeps it in memory.
        root_token: the root token to use; None takes a new one (all tokens of the state stay valid).
        clock: Unix time, handed in for tests.

    Raises:
        Corrupt: the state file cannot be understood.
    """

    def __init__(
        self,
        *,
        state_file: Path | None = None,
        root_token: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = state_file
        self._clock = clock
        self._lock = threading.RLock()
        self._state = load(state_file.read_text("utf-8")) if state_file and state_file.exists() else State()
        self._tokens = TokenStore(self._state, clock)
        self._approle = AppRole(self._state, self._tokens, clock)
        self._system = SystemBackend(self._state, clock)
        self.root_token = root_token or new_id("root")
        if fingerprint(self.root_token) not in self._state.tokens:
            grant = Grant(policies=[ROOT], path="auth/token/root", display_name="root", ttl=0)
            self._tokens.issue(grant, token=self.root_token)
        self._save()

    @property
    def unseal_key(self) -> str:
        """The one key that opens this server after it was sealed."""
        return self._state.unseal_key

    def handle(self, request: w.Request) -> w.Reply:
        """Answer one request; never raises."""
        with self._lock:
            try:
                return self._answer(request)
            except SoftmanError as exc:
                status = next((code for cls, code in _STATUS if isinstance(exc, cls)), 500)
                return w.error_reply(status, str(exc))

    def _answer(self, request: w.Request) -> w.Reply:
        if self._system.sealed and not _WHILE_SEALED.fullmatch(request.path):
            return w.error_reply(503, "Vault is sealed")
        self._tokens.sweep()
        if _WITHOUT_TOKEN.fullmatch(request.path):
            handlers = self._open_handlers(request)
        else:
            caller = self._authorised(request)
            handlers = self._handlers(request, caller)
        handler = handlers.get(request.operation)
        if handler is None:
            return w.error_reply(405 if handlers else 404, "unsupported operation" if handlers else "unsupported path")
        reply = handler()
        if request.operation in (w.UPDATE, w.DELETE):
            self._save()
        return reply

    def _save(self) -> None:
        if self._file is not None:
            write_private(self._file, dump(self._state))

    def _authorised(self, request: w.Request) -> Caller:
        token = self._tokens.use(request.token)
        if token.num_uses:
            self._save()
        caller = Caller(request.token, token, self._acl(token))
        if caller.is_root:
            return caller
        granted = caller.acl.capabilities(request.path)
        needed = {self._capability(request)}
        if _NEEDS_SUDO.fullmatch(request.path):
            needed.add(Capability.SUDO)
        if not needed <= granted:
            raise Forbidden(PERMISSION_DENIED)
        return caller

    def _acl(self, token: Token) -> Acl:
        known = (self._state.policies.get(name, "") for name in token.policies)
        own = (self._system.default_policy,) if "default" in token.policies else ()
        return _acl((*known, *own))

    def _capability(self, request: w.Request) -> Capability:
        """What the operation needs; writing needs ``create`` where a path can tell that nothing is there yet."""
        if request.operation != w.UPDATE:
            return Capability(request.operation)
        return Capability.UPDATE if self._exists(request.path) else Capability.CREATE

    def _exists(self, path: str) -> bool:
        role = re.fullmatch(r"auth/([^/]+)/role/([^/]+)", path)
        if role is not None:
            return self._approle.exists(role[1], role[2])
        mount, rest = self._mount_of(path)
        part, _, name = rest.partition("/")
        if mount is not None and part in ("data", "metadata"):
            return name in self._state.mounts[mount].secrets
        return True

    def _mount_of(self, path: str) -> tuple[str | None, str]:
        for mount in sorted(self._state.mounts, key=len, reverse=True):
            if path.startswith(mount + "/"):
                return mount, path.removeprefix(mount + "/")
        return None, path

    def _open_handlers(self, request: w.Request) -> dict[str, Handler]:
        if request.path.startswith("sys/"):
            return self._system.open_handlers(request)
        mount = request.path.split("/")[1]
        if mount not in self._state.approle_mounts:
            raise Forbidden(PERMISSION_DENIED)
        return {w.UPDATE: partial(self._approle.login, mount, request.body)}

    def _handlers(self, request: w.Request, caller: Caller) -> dict[str, Handler]:
        first, _, rest = request.path.partition("/")
        if request.path == "sys/capabilities-self":
            return {w.UPDATE: lambda: _capabilities(caller, w.texts(request.body, "paths", []))}
        if first == "sys":
            return self._system.handlers(request)
        if first == "auth":
            return self._auth_handlers(rest, request, caller)
        mount, rest = self._mount_of(request.path)
        if mount is None:
            msg = f'no handler for route "{request.path}". route entry not found.'
            raise NotFound(msg)
        return self._kv_handlers(mount, rest, request)

    def _auth_handlers(self, path: str, request: w.Request, caller: Caller) -> dict[str, Handler]:
        mount, _, rest = path.partition("/")
        if mount == "token":
            return self._token_handlers(rest, request, caller)
        if mount not in self._state.approle_mounts:
            msg = f'no handler for route "auth/{path}". route entry not found.'
            raise NotFound(msg)
        return self._approle_handlers(mount, rest, request)

    def _token_handlers(self, path: str, request: w.Request, caller: Caller) -> dict[str, Handler]:
        tokens = self._tokens
        body = request.body
        named = str(body.get("token") or "")
        increment = w.seconds(body, "increment", 0)
        lookup_self = partial(tokens.lookup, caller.text)
        table: dict[str, dict[str, Handler]] = {
            "create": {w.UPDATE: partial(tokens.create, caller.text, caller.token, body)},
            "lookup-self": {w.READ: lookup_self, w.UPDATE: lookup_self},
            "lookup": {w.UPDATE: partial(tokens.lookup, named)},
            "renew-self": {w.UPDATE: partial(tokens.renew, caller.text, increment)},
            "renew": {w.UPDATE: partial(tokens.renew, named, increment)},
            "revoke-self": {w.UPDATE: partial(tokens.revoke, caller.text)},
            "revoke": {w.UPDATE: partial(tokens.revoke, named)},
        }
        return table.get(path, {})

    def _approle_handlers(self, mount: str, path: str, request: w.Request) -> dict[str, Handler]:
        approle = self._approle
        match = re.fullmatch(r"role(?:/([^/]+))?(?:/(.+?))?/?", path)
        if match is None:
            return {}
        name, part, body = match[1], match[2], request.body
        if name is None:
            return {w.LIST: partial(approle.list_roles, mount)}
        table: dict[str | None, dict[str, Handler]] = {
            None: {
                w.READ: partial(approle.read_role, mount, name),
                w.UPDATE: partial(approle.write_role, mount, name, body),
                w.DELETE: partial(approle.delete_role, mount, name),
            },
            "role-id": {
                w.READ: partial(approle.read_role_id, mount, name),
                w.UPDATE: partial(approle.write_role_id, mount, name, body),
            },
            "secret-id": {
                w.UPDATE: partial(approle.make_secret_id, mount, name, body),
                w.LIST: partial(approle.list_secret_ids, mount, name),
            },
            "custom-secret-id": {w.UPDATE: partial(approle.make_secret_id, mount, name, body, custom=True)},
            "secret-id/lookup": {w.UPDATE: partial(approle.lookup_secret_id, mount, name, body)},
            "secret-id/destroy": {w.UPDATE: partial(approle.destroy_secret_id, mount, name, body)},
            "secret-id-accessor/destroy": {w.UPDATE: partial(approle.destroy_accessor, mount, name, body)},
        }
        return table.get(part, {})

    def _kv_handlers(self, mount_path: str, path: str, request: w.Request) -> dict[str, Handler]:
        mount = self._state.mounts[mount_path]
        part, _, name = path.partition("/")
        body: dict[str, Any] = dict(request.body)
        now = self._clock()
        table: dict[str, dict[str, Handler]] = {
            "config": {w.READ: partial(kv.read_config, mount), w.UPDATE: partial(kv.write_config, mount, body)},
            "data": {
                w.READ: lambda: kv.read(mount, name, w.number(request.query, "version", 0)),
                w.UPDATE: partial(kv.write, mount, name, body, now),
                w.DELETE: partial(kv.delete_current, mount, name, now),
            },
            "delete": {w.UPDATE: lambda: kv.delete(mount, name, kv.chosen_versions(body), now)},
            "undelete": {w.UPDATE: lambda: kv.undelete(mount, name, kv.chosen_versions(body))},
            "destroy": {w.UPDATE: lambda: kv.destroy(mount, name, kv.chosen_versions(body))},
            "metadata": {
                w.READ: partial(kv.read_metadata, mount, name),
                w.UPDATE: partial(kv.write_metadata, mount, name, body, now),
                w.DELETE: partial(kv.delete_metadata, mount, name),
                w.LIST: partial(kv.list_keys, mount, name),
            },
        }
        return table.get(part, {})


@lru_cache(maxsize=64)
def _acl(policies: tuple[str, ...]) -> Acl:
    return Acl(rule for text in policies for rule in parse_policy(text))


def _capabilities(caller: Caller, paths: Iterable[str]) -> w.Reply:
    """``POST sys/capabilities-self``."""
    found: dict[str, Any] = {}
    for path in paths:
        granted = sorted(str(capability) for capability in caller.acl.capabilities(path))
        found[path] = [ROOT] if caller.is_root else granted or [str(Capability.DENY)]
    if len(found) == 1:
        found["capabilities"] = next(iter(found.values()))
    return w.data_reply(found)
