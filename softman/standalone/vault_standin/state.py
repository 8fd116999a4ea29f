"""What the stand-in remembers, as plain data, and how it comes to and from one JSON file.

Tokens and secret ids are kept as SHA-256 hashes, as a real server does; key material is kept in clear, unlike a real
server, in a file of mode 0600.
"""

import hashlib
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from softman.errors import Corrupt

STATE_SCHEMA = 1


@dataclass(slots=True)
class Version:
    """One version of a secret; times are RFC 3339 text as in the API, ``""`` when not set."""

    created_time: str
    deletion_time: str = ""
    destroyed: bool = False
    data: dict[str, Any] | None = None


@dataclass(slots=True)
class Secret:
    """All versions of one path of a KV mount, and its metadata."""

    created_time: str
    updated_time: str
    current_version: int = 0
    oldest_version: int = 0
    max_versions: int = 0
    cas_required: bool = False
    custom_metadata: dict[str, str] | None = None
    versions: dict[int, Version] = field(default_factory=dict)


@dataclass(slots=True)
class Mount:
    """One KV version 2 secrets engine."""

    accessor: str
    uuid: str
    description: str = ""
    max_versions: int = 0
    cas_required: bool = False
    secrets: dict[str, Secret] = field(default_factory=dict)


@dataclass(slots=True)
class Role:
    """One AppRole. Times to live in seconds, 0 means the server's default; 0 uses means any number."""

    role_id: str
    bind_secret_id: bool = True
    secret_id_num_uses: int = 0
    secret_id_ttl: int = 0
    token_policies: list[str] = field(default_factory=list)
    token_ttl: int = 0
    token_max_ttl: int = 0
    token_num_uses: int = 0
    token_no_default_policy: bool = False


@dataclass(slots=True)
class SecretId:
    """One secret id of a role; ``expires`` is Unix time or None."""

    role: str
    accessor: str
    created: float
    ttl: int
    num_uses: int
    expires: float | None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Token:
    """One token; times are Unix times, ``expires`` None means never."""

    accessor: str
    policies: list[str]
    path: str
    display_name: str
    created: float
    ttl: int
    max_ttl: int
    expires: float | None
    renewable: bool
    num_uses: int = 0
    role: str | None = None
    parent: str | None = None
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """Everything. Tokens and secret ids are keyed by their hash."""

    unseal_key: str = field(default_factory=lambda: secrets.token_hex(32))
    cluster_id: str = field(default_factory=lambda: secrets.token_hex(16))
    mounts: dict[str, Mount] = field(default_factory=dict)
    approle_mounts: dict[str, str] = field(default_factory=dict)
    """Path of an AppRole auth method -> its accessor."""
    policies: dict[str, str] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    """``<mount>/<role name>`` -> role."""
    secret_ids: dict[str, SecretId] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)


def fingerprint(secret: str) -> str:
    """What a token or a secret id is kept as: its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def dump(state: State) -> str:
    """The state as JSON text."""
    return json.dumps({"schema": STATE_SCHEMA, "state": asdict(state)}, separators=(",", ":"))


def load(text: str) -> State:
    """Read what ``dump`` wrote.

    Raises:
        Corrupt: it is something else, or of another schema.
    """
    try:
        document = json.loads(text)
        if document["schema"] != STATE_SCHEMA:
            msg = f"the state has schema {document['schema']!r}; this stand-in reads {STATE_SCHEMA}"
            raise Corrupt(msg)
        tree = document["state"]
        return State(
            unseal_key=tree["unseal_key"],
            cluster_id=tree["cluster_id"],
            mounts={path: _mount(mount) for path, mount in tree["mounts"].items()},
            approle_mounts=tree["approle_mounts"],
            policies=tree["policies"],
            roles={name: Role(**role) for name, role in tree["roles"].items()},
            secret_ids={key: SecretId(**value) for key, value in tree["secret_ids"].items()},
            tokens={key: Token(**value) for key, value in tree["tokens"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        msg = f"the state cannot be understood: {type(exc).__name__}"
        raise Corrupt(msg) from exc


def _mount(tree: dict[str, Any]) -> Mount:
    found = {path: _secret(secret) for path, secret in tree["secrets"].items()}
    return Mount(**{**tree, "secrets": found})


def _secret(tree: dict[str, Any]) -> Secret:
    versions = {int(number): Version(**version) for number, version in tree["versions"].items()}
    return Secret(**{**tree, "versions": versions})


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in one step, readable by its owner only.

    Survives the end of the process at any point; no promise is made for a power cut.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
