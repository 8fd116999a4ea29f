"""The KV secrets engine, version 2, on plain state: versions, check-and-set, soft deletion, destruction.

Answers are those of the API page "KV - Version 2"; numbers and messages were compared with OpenBao's ``path_data.go``.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from softman.errors import InvalidInput, NotFound
from softman.standalone.vault_standin.state import Mount, Secret, Version
from softman.standalone.vault_standin.wire import NO_CONTENT, Reply, data_reply, flag, mapping, number

DEFAULT_MAX_VERSIONS = 10
NOTHING_THERE = ""
"""Vault answers 404 without a message when a path holds nothing."""


def timestamp(at: float) -> str:
    """Unix time as the API writes it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def read_config(mount: Mount) -> Reply:
    """``GET <mount>/config``."""
    return data_reply(
        {"cas_required": mount.cas_required, "delete_version_after": "0s", "max_versions": mount.max_versions}
    )


def write_config(mount: Mount, body: dict[str, Any]) -> Reply:
    """``POST <mount>/config``."""
    _refuse_delete_after(body)
    mount.max_versions = number(body, "max_versions", mount.max_versions)
    mount.cas_required = flag(body, "cas_required", mount.cas_required)
    return NO_CONTENT


def read(mount: Mount, path: str, wanted: int) -> Reply:
    """``GET <mount>/data/<path>``; ``wanted`` 0 means the current version.

    Raises:
        NotFound: there is no such secret or version. A deleted version answers 404 with its metadata instead.
    """
    secret = _existing(mount, path)
    version_number = wanted or secret.current_version
    version = secret.versions.get(version_number)
    if version is None:
        raise NotFound(NOTHING_THERE)
    gone = version.destroyed or bool(version.deletion_time)
    body = {"data": None if gone else version.data, "metadata": _version_metadata(secret, version_number)}
    return data_reply(body, status=404 if gone else 200)


def write(mount: Mount, path: str, body: dict[str, Any], now: float) -> Reply:
    """``POST <mount>/data/<path>``: a new version, if ``options.cas`` allows.

    Raises:
        InvalidInput: no data, or check-and-set failed or was required.
    """
    data = body.get("data")
    options = mapping(body, "options")
    if not isinstance(data, dict):
        msg = "no data provided"
        raise InvalidInput(msg)
    if not path or path.endswith("/"):
        msg = "cannot write to a path ending in '/'" if path else "missing path"
        raise InvalidInput(msg)
    at = timestamp(now)
    secret = mount.secrets.get(path) or Secret(created_time=at, updated_time=at)
    _check_and_set(mount, secret, options)
    secret.current_version += 1
    secret.updated_time = at
    secret.versions[secret.current_version] = Version(created_time=at, data=data)
    keep = secret.max_versions or mount.max_versions or DEFAULT_MAX_VERSIONS
    for old in sorted(secret.versions)[:-keep]:
        del secret.versions[old]
        secret.oldest_version = old + 1
    mount.secrets[path] = secret
    return data_reply(_version_metadata(secret, secret.current_version))


def _check_and_set(mount: Mount, secret: Secret, options: dict[str, Any]) -> None:
    if "cas" not in options:
        if mount.cas_required or secret.cas_required:
            msg = "check-and-set parameter required for this call"
            raise InvalidInput(msg)
        return
    if number(options, "cas", -1) != secret.current_version:
        msg = "check-and-set parameter did not match the current version"
        raise InvalidInput(msg)


def delete_current(mount: Mount, path: str, now: float) -> Reply:
    """``DELETE <mount>/data/<path>``: soft deletion of the current version."""
    secret = mount.secrets.get(path)
    return NO_CONTENT if secret is None else delete(mount, path, [secret.current_version], now)


def delete(mount: Mount, path: str, versions: Iterable[int], now: float) -> Reply:
    """``POST <mount>/delete/<path>``: soft deletion."""
    for version in _chosen(mount, path, versions):
        if not version.destroyed and not version.deletion_time:
            version.deletion_time = timestamp(now)
    return NO_CONTENT


def undelete(mount: Mount, path: str, versions: Iterable[int]) -> Reply:
    """``POST <mount>/undelete/<path>``; what was destroyed stays so."""
    for version in _chosen(mount, path, versions):
        if not version.destroyed:
            version.deletion_time = ""
    return NO_CONTENT


def destroy(mount: Mount, path: str, versions: Iterable[int]) -> Reply:
    """``POST <mount>/destroy/<path>``: the data is gone, the version's number remains."""
    for version in _chosen(mount, path, versions):
        version.destroyed = True
        version.data = None
    return NO_CONTENT


def chosen_versions(body: dict[str, Any]) -> list[int]:
    """The ``versions`` of a request.

    Raises:
        InvalidInput: there are none, or they are no numbers.
    """
    versions = body.get("versions")
    if not isinstance(versions, list) or not versions:
        msg = "No version number provided"
        raise InvalidInput(msg)
    return [number({"version": version}, "version", 0) for version in versions]


def read_metadata(mount: Mount, path: str) -> Reply:
    """``GET <mount>/metadata/<path>``."""
    secret = _existing(mount, path)
    return data_reply(
        {
            "cas_required": secret.cas_required,
            "created_time": secret.created_time,
            "current_version": secret.current_version,
            "custom_metadata": secret.custom_metadata,
            "delete_version_after": "0s",
            "max_versions": secret.max_versions,
            "oldest_version": secret.oldest_version,
            "updated_time": secret.updated_time,
            "versions": {
                str(count): {
                    "created_time": version.created_time,
                    "deletion_time": version.deletion_time,
                    "destroyed": version.destroyed,
                }
                for count, version in sorted(secret.versions.items())
            },
        }
    )


def write_metadata(mount: Mount, path: str, body: dict[str, Any], now: float) -> Reply:
    """``POST <mount>/metadata/<path>``; makes a secret without versions when there is none."""
    _refuse_delete_after(body)
    custom = body.get("custom_metadata")
    if custom is not None and not (isinstance(custom, dict) and all(isinstance(text, str) for text in custom.values())):
        msg = "custom_metadata must be a map of text"
        raise InvalidInput(msg)
    at = timestamp(now)
    secret = mount.secrets.setdefault(path, Secret(created_time=at, updated_time=at))
    secret.max_versions = number(body, "max_versions", secret.max_versions)
    secret.cas_required = flag(body, "cas_required", secret.cas_required)
    if custom is not None:
        secret.custom_metadata = custom
    secret.updated_time = at
    return NO_CONTENT


def delete_metadata(mount: Mount, path: str) -> Reply:
    """``DELETE <mount>/metadata/<path>``: the secret with all versions is gone."""
    mount.secrets.pop(path, None)
    return NO_CONTENT


def list_keys(mount: Mount, folder: str) -> Reply:
    """``LIST <mount>/metadata/<folder>``: names below the folder, sub-folders with a slash, deleted secrets too.

    Raises:
        NotFound: nothing is below.
    """
    prefix = folder.rstrip("/") + "/" if folder.strip("/") else ""
    below = [path.removeprefix(prefix) for path in mount.secrets if path.startswith(prefix)]
    names = sorted({first + slash for first, slash, _ in (name.partition("/") for name in below)})
    if not names:
        raise NotFound(NOTHING_THERE)
    return data_reply({"keys": names})


def _existing(mount: Mount, path: str) -> Secret:
    secret = mount.secrets.get(path)
    if secret is None:
        raise NotFound(NOTHING_THERE)
    return secret


def _chosen(mount: Mount, path: str, versions: Iterable[int]) -> list[Version]:
    secret = mount.secrets.get(path)
    if secret is None:
        return []
    return [secret.versions[count] for count in versions if count in secret.versions]


def _version_metadata(secret: Secret, count: int) -> dict[str, Any]:
    version = secret.versions[count]
    return {
        "created_time": version.created_time,
        "custom_metadata": secret.custom_metadata,
        "deletion_time": version.deletion_time,
        "destroyed": version.destroyed,
        "version": count,
    }


def _refuse_delete_after(body: dict[str, Any]) -> None:
    if body.get("delete_version_after", "0s") not in ("", "0", "0s", 0, None):
        msg = "delete_version_after is not supported by this stand-in"
        raise InvalidInput(msg)
