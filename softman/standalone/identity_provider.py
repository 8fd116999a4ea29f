"""The identity provider of the embedded stack, for development: ``oidc-provider-mock``, which asks for no password.

Whoever reaches it can log in as anybody, so it listens on loopback only. Its keys are new at each start.
"""

import importlib.util
import json
import secrets
from collections.abc import Mapping
from typing import Any

from softman.standalone.listeners import Dashboard
from softman.standalone.ports import LOOPBACK

DISCOVERY = "/.well-known/openid-configuration"
_PACKAGE = "oidc_provider_mock"

PEOPLE: Mapping[str, Mapping[str, Any]] = {
    "alice": {"name": "Alice Liddell", "groups": []},
    "bob": {"name": "Bob Cratchit", "groups": ["/physics"]},
    "carol": {"name": "Carol Kennicott", "groups": ["/physics", "/physics/managers"]},
    "admin": {"name": "Ada Min", "groups": ["/softman-admins"]},
}
"""By subject, which is the user name, too: claims as Keycloak makes them."""


def new_dashboard(port: int, provider_port: int) -> Dashboard:
    """Where a dashboard is to listen; without the provider's package, one of development, nobody can log in."""
    installed = importlib.util.find_spec(_PACKAGE) is not None
    return Dashboard(port, provider_port if installed else 0, secrets.token_hex(16))


def identity_provider_arguments(port: int) -> tuple[str, ...]:
    """The arguments of ``python -m`` that serve it."""
    people = (json.dumps({"sub": user, "preferred_username": user, **claims}) for user, claims in PEOPLE.items())
    users = (argument for person in people for argument in ("--user-claims", person))
    return (_PACKAGE, "--host", LOOPBACK, "--port", str(port), "--require-nonce", "true", *users)
