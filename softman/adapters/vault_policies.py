"""The policies that are shipped in ``policies/``, for the mounts in the settings. No client.

They name the mounts ``secrets``, ``softman`` and ``jwt``, and are rewritten when the settings name others.
"""

import re
from importlib import resources

from softman.adapters.vault_layout import Role
from softman.errors import InvalidInput
from softman.settings import VaultSettings

USER_POLICY = "softman-user"
GROUP_POLICIES = "softman-group-"
"""How the names of groups' policies begin."""
_MOUNT_NAME = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
_MOUNT_IN_PATH = re.compile(
    r'^(path ")((?:sys/(?:mounts|auth)/|auth/)?)(secrets|softman|jwt)(?=[/"])', flags=re.MULTILINE
)


def policy_name(role: Role) -> str:
    """The name of the role's policy in Vault, which may also serve others: hence the prefix."""
    return f"softman-{role.value}"


def policy_text(role: Role, settings: VaultSettings) -> str:
    """The role's policy for the mounts in the settings.

    Raises:
        InvalidInput: a mount's name could mean something else inside a policy.
    """
    return _text(role.value, settings)


def user_policy_text(settings: VaultSettings, accessor: str) -> str:
    """What users may read with the token of their login; errors as for ``policy_text``.

    Args:
        settings: names the mounts.
        accessor: that of the JWT auth method.
    """
    return _text("user", settings).replace("ACCESSOR", accessor)


def group_policy_text(settings: VaultSettings, group: str) -> str:
    """What members of a group may read; errors as for ``policy_text``.

    Args:
        settings: names the mounts.
        group: a name that was checked.
    """
    return _text("group", settings).replace("GROUP/", f"{group}/")


def setup_policy_text(settings: VaultSettings) -> str:
    """What ``softman vault setup`` needs; errors as for ``policy_text``."""
    return _text("setup", settings)


def _text(name: str, settings: VaultSettings) -> str:
    mounts = {"secrets": settings.mount, "softman": settings.own_mount, "jwt": settings.users.mount}
    for mount in mounts.values():
        if not _MOUNT_NAME.fullmatch(mount):
            msg = f"{mount!r} cannot be the name of a mount: letters, digits, - and _ are possible"
            raise InvalidInput(msg)
    text = resources.files("softman.adapters").joinpath("policies", f"{name}.hcl").read_text("utf-8")
    return _MOUNT_IN_PATH.sub(lambda found: f"{found[1]}{found[2]}{mounts[found[3]]}", text)
