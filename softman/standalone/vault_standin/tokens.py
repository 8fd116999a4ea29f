"""Tokens: made, looked up, prolonged, revoked, and gone when their time or their uses are up.

A token's children go with it. Times to live follow the documentation: a renewal gives the increment asked for (or the
one the token was made with) from now on, never past the maximum counted from the token's creation.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from softman.errors import Forbidden, InvalidInput
from softman.standalone.vault_standin.kv import timestamp
from softman.standalone.vault_standin.state import State, Token, fingerprint
from softman.standalone.vault_standin.wire import (
    NO_CONTENT,
    Reply,
    auth_reply,
    data_reply,
    flag,
    mapping,
    number,
    seconds,
    texts,
)

DEFAULT_TTL = 32 * 24 * 3600
"""Seconds; Vault's system default and maximum, 768 hours."""

USED_UP = -1
"""The uses of a token that makes its last request; the next sweep takes it away."""
PERMISSION_DENIED = "permission denied"
ROOT = "root"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a new token is to be. Times in seconds; ``max_ttl`` 0 means the system's maximum; ``ttl`` 0 never ends."""

    policies: list[str]
    path: str
    display_name: str
    ttl: int
    max_ttl: int = 0
    renewable: bool = True
    num_uses: int = 0
    role: str | None = None
    parent: str | None = None
    meta: dict[str, str] = field(default_factory=dict)


def new_id(kind: str) -> str:
    """A random name that shows where it comes from; ``kind`` is ``token``, ``secret`` and so on."""
    return f"standin-{kind}-{secrets.token_urlsafe(24)}"


class TokenStore:
    """The tokens of one state."""

    def __init__(self, state: State, clock: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock

    def issue(self, grant: Grant, *, token: str | None = None) -> tuple[str, Token]:
        """Make a token; returns its text, which is kept nowhere, and what is remembered of it."""
        now = self._clock()
        ttl = min(grant.ttl, grant.max_ttl or DEFAULT_TTL)
        text = token or new_id("token")
        made = Token(
            accessor=secrets.token_hex(12),
            policies=grant.policies,
            path=grant.path,
            display_name=grant.display_name,
            created=now,
            ttl=ttl,
            max_ttl=grant.max_ttl,
            expires=now + ttl if ttl else None,
            renewable=grant.renewable and bool(ttl),
            num_uses=grant.num_uses,
            role=grant.role,
            parent=grant.parent,
            meta=grant.meta,
        )
        self._state.tokens[fingerprint(text)] = made
        return text, made

    def sweep(self) -> None:
        """Forget tokens whose time or uses are up, with their children."""
        now = self._clock()
        for key, token in list(self._state.tokens.items()):
            if token.num_uses == USED_UP or (token.expires and token.expires <= now):
                self._drop(key)

    def use(self, text: str) -> Token:
        """The token of a request; counts one use.

        Raises:
            Forbidden: there is none, it is unknown, expired, revoked or used up.
        """
        token = self._state.tokens.get(fingerprint(text)) if text else None
        if token is None:
            raise Forbidden(PERMISSION_DENIED)
        if token.num_uses:
            token.num_uses = token.num_uses - 1 or USED_UP
        return token

    def create(self, parent_text: str, parent: Token, body: Mapping[str, Any]) -> Reply:
        """``POST auth/token/create``.

        Raises:
            InvalidInput: a policy the parent does not have.
        """
        policies = texts(body, "policies", parent.policies)
        if ROOT not in parent.policies and not set(policies) <= set(parent.policies):
            msg = "child policies must be subset of parent"
            raise InvalidInput(msg)
        if ROOT not in policies and not flag(body, "no_default_policy", default=False):
            policies = sorted({*policies, "default"})
        ttl = seconds(body, "ttl", 0 if ROOT in policies else DEFAULT_TTL)
        text, made = self.issue(
            Grant(
                policies=policies,
                path="auth/token/create",
                display_name=str(body.get("display_name") or "token"),
                ttl=ttl,
                max_ttl=seconds(body, "explicit_max_ttl", 0),
                renewable=flag(body, "renewable", default=True),
                num_uses=number(body, "num_uses", 0),
                parent=None if flag(body, "no_parent", default=False) else fingerprint(parent_text),
                meta={name: str(value) for name, value in mapping(body, "meta").items()},
            )
        )
        return auth_reply(self.auth_of(text, made))

    def lookup(self, text: str) -> Reply:
        """``GET auth/token/lookup-self`` and ``POST auth/token/lookup``.

        Raises:
            Forbidden: there is no such token.
        """
        token = self._state.tokens.get(fingerprint(text))
        if token is None:
            msg = "bad token"
            raise Forbidden(msg)
        return data_reply(
            {
                "accessor": token.accessor,
                "creation_time": int(token.created),
                "creation_ttl": token.ttl,
                "display_name": token.display_name,
                "entity_id": "",
                "expire_time": timestamp(token.expires) if token.expires else None,
                "explicit_max_ttl": 0,
                "id": text,
                "issue_time": timestamp(token.created),
                "meta": token.meta or None,
                "num_uses": token.num_uses,
                "orphan": token.parent is None,
                "path": token.path,
                "policies": token.policies,
                "renewable": token.renewable,
                "ttl": self._remaining(token),
                "type": "service",
            }
        )

    def renew(self, text: str, increment: int) -> Reply:
        """``POST auth/token/renew-self``.

        Raises:
            InvalidInput: the token cannot be prolonged.
            Forbidden: there is no such token.
        """
        token = self._state.tokens.get(fingerprint(text))
        if token is None:
            raise Forbidden(PERMISSION_DENIED)
        if not token.renewable:
            msg = "lease is not renewable"
            raise InvalidInput(msg)
        if token.role is not None and token.role not in self._state.roles:
            msg = f"role {token.role.rpartition('/')[2]!r} does not exist during renewal"
            raise InvalidInput(msg)
        latest = token.created + (token.max_ttl or DEFAULT_TTL)
        token.expires = min(self._clock() + (increment or token.ttl), latest)
        return auth_reply(self.auth_of(text, token))

    def revoke(self, text: str) -> Reply:
        """``POST auth/token/revoke-self``: the token and its children are gone."""
        self._drop(fingerprint(text))
        return NO_CONTENT

    def auth_of(self, text: str, token: Token) -> dict[str, Any]:
        """The ``auth`` block of a login or renewal."""
        return {
            "client_token": text,
            "accessor": token.accessor,
            "policies": token.policies,
            "token_policies": token.policies,
            "metadata": token.meta or None,
            "lease_duration": self._remaining(token),
            "renewable": token.renewable,
            "entity_id": "",
            "token_type": "service",
            "orphan": token.parent is None,
            "mfa_requirement": None,
            "num_uses": token.num_uses,
        }

    def _remaining(self, token: Token) -> int:
        """Whole seconds left, rounded up so that a living token never shows 0; 0 for one that never ends."""
        return max(1, round(token.expires - self._clock() + 0.499)) if token.expires else 0

    def _drop(self, key: str) -> None:
        self._state.tokens.pop(key, None)
        for child in [child for child, token in self._state.tokens.items() if token.parent == key]:
            self._drop(child)
