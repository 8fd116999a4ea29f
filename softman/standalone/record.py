"""What is written down about a stack: ``env.json`` in its directory, mode 0600, with ports, secrets and users."""

import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from softman.errors import Busy, Corrupt, Forbidden, InvalidInput, NotFound
from softman.standalone.listeners import Dashboard, Flower
from softman.standalone.process import ProcessTable, write_private
from softman.standalone.rgw import S3Keys
from softman.standalone.server import Facts

FILE_NAME = "env.json"
LOCK_NAME = ".lock"
LOGS = "log"
_VERSION = 1
_SOCKET_PATH_LIMIT = 100
"""Bytes; sun_path holds 107 (unix(7)), and Ceph wants some room."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a stack differs from the usual one."""

    domain: str = "example.org"
    front_end: str = "civetweb"
    """Of the object gateway; ``beast`` aborts on DeleteObjects below a notified prefix (Ceph 16.2)."""
    users: tuple[str, ...] = ("alice", "bob")
    """Users of the object store to begin with."""
    flower: bool = True
    """Whether Flower runs beside the workers."""
    dashboard: bool = False
    """Whether the dashboard does, with the development identity provider."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further settings of all roles, as variables without their prefix: ``{"SYNC__LEASE_SECONDS": "4"}``."""
    storage: Literal["file", "s3"] = "file"
    """Where repositories are stored: in a folder behind the web server, or in a bucket that everybody may read."""


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that finds a running stack again."""

    marker: str
    sockets: str
    domain: str
    front_end: str
    facts: dict[str, Facts] = field(default_factory=dict)
    users: dict[str, S3Keys] = field(default_factory=dict)
    flower: Flower | None = None
    """Where Flower listens when our own processes run."""
    dashboard: Dashboard | None = None
    """Where the dashboard listens then."""
    settings: dict[str, str] = field(default_factory=dict)
    """Settings of all roles that differ from the usual ones, as variables without their prefix."""
    storage: str = "file"
    """Where repositories are stored, ``file`` or ``s3``."""

    def save(self, directory: Path) -> None:
        """Write it below ``directory``."""
        content = {"version": _VERSION, "directory": str(directory), **asdict(self)}
        write_private(directory / FILE_NAME, json.dumps(content, indent=1) + "\n")


def load_record(directory: Path) -> Record:
    """Read the record of the stack in ``directory``.

    Raises:
        NotFound: there is no stack.
        Forbidden: the directory is somebody else's.
        Corrupt: the record cannot be understood.
    """
    path = directory / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        msg = f"there is no stack in {directory}"
        raise NotFound(msg) from exc
    except PermissionError as exc:
        msg = f"{directory} belongs to another user"
        raise Forbidden(msg) from exc
    try:
        return _parse(json.loads(text))
    except (ValueError, KeyError, TypeError) as exc:
        msg = f"{path} is not a record of this version of softman: {exc!r}"
        raise Corrupt(msg) from exc


def _parse(content: Mapping[str, Any]) -> Record:
    if content["version"] != _VERSION:
        msg = f"version {content['version']!r}"
        raise ValueError(msg)
    return Record(
        marker=str(content["marker"]),
        sockets=str(content["sockets"]),
        domain=str(content["domain"]),
        front_end=str(content["front_end"]),
        facts={name: Facts(**facts) for name, facts in content["facts"].items()},
        users={uid: S3Keys(**keys) for uid, keys in content["users"].items()},
        flower=Flower(**content["flower"]) if content["flower"] else None,
        dashboard=Dashboard(**content["dashboard"]) if content.get("dashboard") else None,
        settings={str(name): str(value) for name, value in content.get("settings", {}).items()},
        storage=str(content.get("storage", "file")),
    )


def prepare_directory(wanted: Path | None) -> Path:
    """Make a private directory for a stack.

    Args:
        wanted: where; None makes a temporary one.

    Returns:
        Its absolute path, without links.

    Raises:
        InvalidInput: it is no directory, or holds other things than a stack.
        Forbidden: it belongs to another user, or cannot be made.
    """
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="softman-")).resolve()
    directory = wanted.expanduser().resolve()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_uid != os.geteuid():
            msg = f"{directory} belongs to another user"
            raise Forbidden(msg)
        if not (directory / FILE_NAME).exists() and any(item.name != LOCK_NAME for item in directory.iterdir()):
            msg = f"{directory} is not empty and holds no stack"
            raise InvalidInput(msg)
        directory.chmod(stat.S_IRWXU)
    except PermissionError as exc:
        msg = f"{directory} cannot be used: {exc.strerror}"
        raise Forbidden(msg) from exc
    except (FileExistsError, NotADirectoryError) as exc:
        msg = f"{directory} is no directory"
        raise InvalidInput(msg) from exc
    return directory


def socket_directory(directory: Path) -> Path:
    """Where the stack in ``directory`` has its sockets: in it, or in a temporary place when its path is too long."""
    inside = directory / "run"
    if len(os.fsencode(inside / "osd.asok")) <= _SOCKET_PATH_LIMIT:
        inside.mkdir(mode=0o700, exist_ok=True)
        return inside
    return Path(tempfile.mkdtemp(prefix="softman-run-", dir="/tmp"))


def remove_sockets(record: Record, directory: Path) -> None:
    """Remove the socket directory, wherever it is."""
    shutil.rmtree(record.sockets, ignore_errors=True)
    shutil.rmtree(directory / "pids", ignore_errors=True)


def new_marker() -> str:
    """A random marker, which no process of anybody else carries."""
    return secrets.token_hex(16)


def fresh_record(directory: Path, options: Options) -> Record:
    """The record to start with, after what a former stack left was removed, but for its logs.

    Raises:
        Busy: it still runs.
    """
    try:
        former: Record | None = load_record(directory)
    except NotFound:
        former = None
    if former is not None:
        table = ProcessTable(directory, former.marker)
        if any(table.alive(name) for name in table.names()):
            msg = f"a stack runs in {directory} already"
            raise Busy(msg)
        table.sweep()
        remove_sockets(former, directory)
        for item in directory.iterdir():
            if item.is_dir() and item.name != LOGS:
                shutil.rmtree(item)
    sockets = str(socket_directory(directory))
    settings = dict(options.settings)
    return Record(new_marker(), sockets, options.domain, options.front_end, settings=settings, storage=options.storage)
