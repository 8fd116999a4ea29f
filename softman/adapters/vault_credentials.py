"""Where an AppRole's secret id comes from: a setting, a file, or a wrapping token that is good for one use.

A wrapping token is used at start, by the process whose children do the work; they inherit what was in it. It is kept in
memory alone, so a program that is started again needs a new one.
"""

import hashlib
import threading
from pathlib import Path
from typing import Any

from hvac import exceptions as vault_errors
from pydantic import SecretStr

from softman.adapters.errormap import Table, translated
from softman.adapters.vault_connection import VAULT_ERRORS, connect
from softman.adapters.vault_layout import APPROLE_MOUNT, Role
from softman.errors import Forbidden, InvalidInput
from softman.log import get_logger
from softman.settings import VaultCredential, VaultSettings

_log = get_logger(__name__)
_lock = threading.Lock()
_unwrapped: dict[str, SecretStr] = {}
"""SHA-256 of a wrapping token -> the secret id that was in it."""


def setting_name(role: Role) -> str:
    """How the settings of the role's credential begin, for messages."""
    return f"SOFTMAN_VAULT__{role.name}__"


def credential(settings: VaultSettings, role: Role) -> VaultCredential:
    """The credential of a role in the settings."""
    found: VaultCredential = getattr(settings, role.value)
    return found


def unwrap_secret_ids(settings: VaultSettings) -> None:
    """Use every wrapping token in the settings; called at start, before the process forks. Errors as ``secret_id``."""
    for role in Role:
        chosen = credential(settings, role)
        if chosen.secret_id_wrapped.get_secret_value() or chosen.secret_id_wrapped_file is not None:
            secret_id(settings, role)


def secret_id(settings: VaultSettings, role: Role) -> SecretStr:
    """The role's secret id, from wherever it comes; empty when the settings say nothing.

    Raises:
        InvalidInput: several places are set, or a file cannot be read.
        Forbidden: the wrapping token is no longer good, or holds something else.
        ServiceUnavailable: Vault is sealed, down or out of reach.
    """
    chosen = credential(settings, role)
    places = {
        "SECRET_ID": chosen.secret_id.get_secret_value(),
        "SECRET_ID_FILE": chosen.secret_id_file,
        "SECRET_ID_WRAPPED": chosen.secret_id_wrapped.get_secret_value(),
        "SECRET_ID_WRAPPED_FILE": chosen.secret_id_wrapped_file,
    }
    given = [name for name, value in places.items() if value]
    if len(given) > 1:
        msg = f"set one of {setting_name(role)}{' and '.join(given)}, not several"
        raise InvalidInput(msg)
    if chosen.secret_id_file is not None:
        return SecretStr(_content(chosen.secret_id_file))
    if chosen.secret_id_wrapped_file is not None:
        return _unwrap(settings, role, _content(chosen.secret_id_wrapped_file), given[0])
    if chosen.secret_id_wrapped.get_secret_value():
        return _unwrap(settings, role, chosen.secret_id_wrapped.get_secret_value(), given[0])
    return chosen.secret_id


def _content(file: Path) -> str:
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, UnicodeError) as exc:
        msg = f"{file}, which should hold a credential of Vault, cannot be read: {getattr(exc, 'strerror', 'no text')}"
        raise InvalidInput(msg) from None
    if not text:
        msg = f"{file}, which should hold a credential of Vault, is empty"
        raise InvalidInput(msg)
    return text


def _unwrap(settings: VaultSettings, role: Role, token: str, setting: str) -> SecretStr:
    known = hashlib.sha256(token.encode()).hexdigest()
    with _lock:
        if known not in _unwrapped:
            _unwrapped[known] = _ask(settings, role, token, setting_name(role) + setting)
        return _unwrapped[known]


def _ask(settings: VaultSettings, role: Role, token: str, setting: str) -> SecretStr:
    """Look where the token was made, then use it.

    What was wrapped elsewhere was put in the way of the right one by somebody.
    """
    client = connect(settings, token)
    try:
        with translated(_WRAPPING_ERRORS, f"unwrap the secret id of {role.value}"):
            found: Any = client.adapter.post("/v1/sys/wrapping/lookup", json={"token": token})
            made_at = str(found["data"]["creation_path"])
            if not made_at.endswith(f"auth/{APPROLE_MOUNT}/role/{role.value}/secret-id"):
                raise _refused(role, f"the token in {setting} does not hold a secret id of this role")
            answer: Any = client.adapter.post("/v1/sys/wrapping/unwrap")
            return SecretStr(str(answer["data"]["secret_id"]))
    except Forbidden:
        raise
    except (InvalidInput, KeyError, TypeError):
        raise _refused(role, f"the wrapping token in {setting} was used before, or has expired") from None
    finally:
        client.adapter.close()


_WRAPPING_ERRORS: Table = {
    **VAULT_ERRORS,
    # Vault says 400 of a token that is used, expired or never was, OpenBao in places 403.
    vault_errors.Forbidden: VAULT_ERRORS[vault_errors.InvalidRequest],
}


def _refused(role: Role, reason: str) -> Forbidden:
    """An error to be alarmed by: a secret id may be in somebody else's hands."""
    _log.error("vault secret id not unwrapped", role=role.value, reason=reason)
    return Forbidden(
        f"no login to Vault as {role.value}: {reason}. If neither softman nor time did that, somebody else has the "
        "secret id: revoke it now, with its accessor, and have an administrator make another"
    )
