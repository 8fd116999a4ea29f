"""Where things lie in Vault, and how a registry record is written down (decisions 13 and 14). Pure: no client, no I/O.

Below the owners' mount: ``<subject>/cvmfs_keys/<repository>`` or ``groups/<group>/cvmfs_keys/<repository>``. Below our
own mount: ``signing/<repository>``, ``signing-masters/repository/<repository>`` or ``signing-masters/domain/<domain>``,
``repositories/<repository>``, and ``public/<repository>`` with what of the owner's keys everybody of softman may know.
"""

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Any, TypeVar

from softman.errors import Corrupt, InvalidInput
from softman.model import Pause, Quotas, RegistryRecord, Retirement, State
from softman.names import Kind, Owner, RepositoryName, check_label, check_subject

RECORD_SCHEMA = 1
"""The schema of records that is written. Fields may be added to a schema; a change of meaning gets a new one."""

APPROLE_MOUNT = "approle"
"""Where the AppRole auth method is enabled."""
REPOSITORIES = "repositories"
_SIGNING = "signing"
_MASTERS = "signing-masters"
_PUBLIC = "public"
PUBLIC_KEYS = ("publicKey", "certificateKey", "nextPublicKey")
"""Which of the owner's keys are no secret."""
_T = TypeVar("_T")


class Role(StrEnum):
    """The AppRoles of softman; each sees what its policy in ``adapters/policies`` allows."""

    STRATUM0 = "stratum0"
    PUBLISHER = "publisher"
    DASHBOARD = "dashboard"
    ADMIN = "admin"


def signing_path(repository: RepositoryName) -> str:
    """Where the private key lies, in our own mount."""
    return f"{_SIGNING}/{repository}"


def master_path(place: str) -> str:
    """Where a master key lies, in our own mount; ``place`` as ``KeyVault.read_master`` takes it."""
    return f"{_MASTERS}/{place}"


def record_path(repository: RepositoryName) -> str:
    """Where the registry record lies, in our own mount."""
    return f"{REPOSITORIES}/{repository}"


def public_path(repository: RepositoryName) -> str:
    """Where public key and certificate lie, in our own mount."""
    return f"{_PUBLIC}/{repository}"


def owner_path(owner: Owner, repository: RepositoryName) -> str:
    """Where the owner's keys lie, in the owners' mount.

    Raises:
        InvalidInput: subject or group could leave their segment of the path. Subjects are checked rather than encoded,
            so that other programs find the keys under the subject as it is.
    """
    check_subject(owner.subject)
    if owner.group is not None:
        check_label(owner.group, repository.domain)
    return f"{owner.vault_prefix}/{repository}"


def check_values(values: Mapping[str, object], what: str) -> dict[str, str]:
    """Key material that was read, as a map of text.

    Raises:
        Corrupt: something in it is no text. The message names the field, never its value.
    """
    for name, value in values.items():
        if not isinstance(value, str):
            msg = f"{what} in Vault are damaged: the field {name!r} is no text"
            raise Corrupt(msg)
    return {name: str(value) for name, value in values.items()}


def encode_record(record: RegistryRecord) -> dict[str, Any]:
    """The record as it is stored; its version is the secret's own and not inside."""
    owner = record.owner
    parts = {"pause": record.pause, "retirement": record.retirement}
    return {
        "schema": RECORD_SCHEMA,
        "repository": str(record.repository),
        "owner": {"user": owner.user, "subject": owner.subject, "kind": str(owner.kind), "group": owner.group},
        "state": str(record.state),
        "backend": record.backend,
        "quotas": asdict(record.quotas),
        "configuration": record.configuration,
        **{name: asdict(part) for name, part in parts.items() if part is not None},
    }


def decode_record(document: Mapping[str, Any], version: int, repository: RepositoryName) -> RegistryRecord:
    """Read what ``encode_record`` wrote, here or in a newer softman of the same schema: unknown fields are ignored.

    Args:
        document: what is stored.
        version: its version in Vault, to compare and swap with.
        repository: whose record was asked for.

    Raises:
        Corrupt: another schema, another repository's record, or a field is missing or wrong.
    """
    schema = document.get("schema")
    if schema != RECORD_SCHEMA:
        msg = (
            f"the registry record of {repository} has schema {schema!r}; this softman understands {RECORD_SCHEMA} only"
        )
        raise Corrupt(msg)
    try:
        owner = document["owner"]
        record = RegistryRecord(
            repository=RepositoryName.parse(document["repository"]),
            owner=Owner(owner["user"], owner["subject"], Kind(owner["kind"]), owner.get("group")),
            state=State(document["state"]),
            backend=_typed(document.get("backend", "native"), str),
            quotas=_quotas(document.get("quotas", {})),
            configuration=_typed(document.get("configuration", ""), str),
            pause=_pause(document.get("pause")),
            retirement=_retirement(document.get("retirement")),
            version=version,
        )
    except (KeyError, TypeError, ValueError, AttributeError, InvalidInput) as exc:
        msg = f"the registry record of {repository} is damaged: {type(exc).__name__}: {exc}"
        raise Corrupt(msg) from exc
    if record.repository != repository:
        msg = f"the registry record of {repository} is that of {record.repository}"
        raise Corrupt(msg)
    return record


def _quotas(document: Mapping[str, Any]) -> Quotas:
    return Quotas(**{name: _typed(document.get(name, usual), int) for name, usual in asdict(Quotas()).items()})


def _pause(document: Mapping[str, Any] | None) -> Pause | None:
    return None if document is None else Pause(float(document["since"]), _typed(document["reason"], str))


def _retirement(document: Mapping[str, Any] | None) -> Retirement | None:
    if document is None:
        return None
    flags = [_typed(document[name], bool) for name in ("keep_content", "locked", "dropped")]
    return Retirement(float(document["since"]), float(document["until"]), *flags)


def _typed(value: object, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        msg = f"a value of type {kind.__name__} is expected"
        raise TypeError(msg)
    return value
