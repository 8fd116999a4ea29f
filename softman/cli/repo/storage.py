"""Where ``softman repo`` finds a repository: its storage and keys to change it, its URL and public key to read it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import click

from softman.cli.repo.keyfiles import KeyFiles
from softman.cli.session import Session
from softman.cvmfs.format.keys import RepositoryKeys
from softman.cvmfs.format.names import check_repository_name
from softman.cvmfs.repository import Repository
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.store.base import StagedStore
from softman.cvmfs.store.local import LocalStore
from softman.errors import InvalidInput

if TYPE_CHECKING:
    from softman.cli.sources import Opened

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Place:
    """What a user says of a repository to be changed."""

    storage: str
    keys: Path
    master_key: Path | None = None
    lock: Path | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """Which revision a user wants to see; the one in force when nothing is said."""

    tag: str | None = None
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A repository with its keys, and its store."""

    repository: Repository
    store: StagedStore
    keys: RepositoryKeys


def place_options(command: _Command) -> _Command:
    """Give a command ``--storage``, ``--keys`` and ``--lock``."""
    for option in (
        click.option(
            "--lock",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File to lock while the repository is changed, where other programs lock another than ours.",
        ),
        click.option(
            "--keys",
            required=True,
            type=click.Path(file_okay=False, path_type=Path),
            help="Directory with NAME.pub, .key, .crt, .masterkey and .gw, as cvmfs_server has them.",
        ),
        click.option(
            "--storage",
            required=True,
            help="Where repositories are stored, one folder each: file:///srv/cvmfs or s3://bucket/prefix.",
        ),
    ):
        command = option(command)
    return command


def master_key_option(command: _Command) -> _Command:
    """Give a command ``--master-key``."""
    return click.option(
        "--master-key",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File with the master key, when it is not NAME.masterkey in the keys' directory.",
    )(command)


def read_options(command: _Command) -> _Command:
    """Give a command ``--url`` and ``--public-key``."""
    command = click.option(
        "--public-key",
        "public_keys",
        required=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        multiple=True,
        help="File with the repository's public (master) key; may be given again.",
    )(command)
    return click.option(
        "--url", required=True, help="Folder of .cvmfspublished: http(s)://host/cvmfs/NAME or file:///srv/cvmfs/NAME."
    )(command)


def open_place(session: Session, name: str, place: Place, *, with_master: bool = False) -> Held:
    """A repository that is there, to be changed.

    Args:
        session: this invocation.
        name: the fully qualified name.
        place: where it is.
        with_master: the master key is needed.

    Raises:
        InvalidInput: the storage's URL makes no sense.
        NotFound: a key is missing.
        FormatError: this is no repository name.
    """
    keys = KeyFiles(place.keys, name, master_key=place.master_key).load(with_master=with_master)
    return hold(session, name, place, keys)


def hold(session: Session, name: str, place: Place, keys: RepositoryKeys) -> Held:
    """A repository, there or not, with keys at hand. Errors are those of ``open_place``."""
    store = open_storage(session, place.storage, name, lock=place.lock)
    return Held(Repository(store, name, keys, now=session.now), store, keys)


def open_storage(session: Session, url: str, name: str, *, lock: Path | None = None) -> StagedStore:
    """The store of repository ``name`` below ``url``; settings are looked at for ``s3://`` only."""
    check_repository_name(name)
    parts = urlsplit(url)
    if parts.scheme == "s3":
        from softman.adapters.vault_layout import Role  # noqa: PLC0415 - a directory does without
        from softman.storage import open_store  # noqa: PLC0415 - same

        return open_store(session.backend.settings, url, name, Role.STRATUM0, lock)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        msg = f"{url!r} is no storage; file:///folder and s3://bucket[/prefix] are"
        raise InvalidInput(msg)
    return LocalStore(Path(unquote(parts.path)) / name, lock_path=lock)


def open_for_reading(session: Session, name: str, url: str, public_keys: tuple[Path, ...]) -> "Opened":
    """A repository to be read, verified."""
    from softman.cli.sources import Source, open_source  # noqa: PLC0415 - whoever writes does without

    return open_source(session, check_repository_name(name), Source(url, public_keys))


def past_options(command: _Command) -> _Command:
    """Give a command ``--tag`` and ``--revision``."""
    command = click.option("--revision", type=click.IntRange(min=1), help="Look at the revision of this number.")(
        command
    )
    return click.option("--tag", help="Look at the revision with this tag.")(command)


def open_snapshot(session: Session, name: str, url: str, public_keys: tuple[Path, ...], past: Past) -> Snapshot:
    """A revision to be looked at, verified.

    Raises:
        InvalidInput: both a tag and a number are given.
    """
    if past.tag is not None and past.revision is not None:
        msg = "--tag and --revision exclude each other"
        raise InvalidInput(msg)
    return open_for_reading(session, name, url, public_keys).reader.snapshot(tag=past.tag, revision=past.revision)
