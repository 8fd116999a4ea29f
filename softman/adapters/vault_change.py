"""Changes that the set-up of Vault makes or would make, and the helpers its parts share."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import hvac
from hvac import exceptions as vault_errors


@dataclass(frozen=True, slots=True)
class Change:
    """One change in words; ``diff`` shows how a policy changes, empty for anything else."""

    what: str
    diff: str = ""


def changed_policy(client: hvac.Client, name: str, text: str, *, apply: bool) -> Iterator[Change]:
    """Write a policy that is not as wanted; the change, if there is one."""
    system: Any = client.sys
    try:
        current = system.read_acl_policy(name)["data"]["policy"]
    except vault_errors.InvalidPath:
        current = None
    if current is None or current.strip() != text.strip():
        if apply:
            system.create_or_update_acl_policy(name, text)
        lines = difflib.unified_diff(
            (current or "").strip().splitlines(), text.strip().splitlines(), "in Vault", "wanted", lineterm=""
        )
        yield Change(f"{'write' if current is None else 'change'} the policy {name}", "\n".join(lines))


def changed_object(
    client: hvac.Client, path: str, wanted: Mapping[str, Any], what: str, *, apply: bool
) -> Iterator[Change]:
    """Write what is at ``path`` when one of the ``wanted`` values is another; the change, if there is one."""
    current = read_object(client, path)
    if current is None or any(_plain(current.get(name)) != _plain(value) for name, value in wanted.items()):
        if apply:
            client.adapter.post(f"/v1/{path}", json=dict(wanted))
        yield Change(f"{'make' if current is None else 'change'} {what}")


def read_object(client: hvac.Client, path: str) -> dict[str, Any] | None:
    """The data at ``path``, or None when there is nothing."""
    try:
        answer: Any = client.adapter.get(f"/v1/{path}")
    except vault_errors.InvalidPath:
        return None
    found: dict[str, Any] = answer["data"]
    return found


def _plain(value: Any) -> Any:
    """A value to be compared: Vault gives back nothing for what is empty, and text without its last line break."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value or ""
