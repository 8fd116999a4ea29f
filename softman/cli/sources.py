"""Where a repository is read from: ours by name, or any by its URL and public key."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from softman.cli.session import Session
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.store import ReadableStore, open_store
from softman.errors import InvalidInput

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Source:
    """What a user says of the source: nothing for a repository of ours."""

    url: str | None = None
    public_keys: tuple[Path, ...] = ()


def source_options(command: _Command) -> _Command:
    """Give a command ``--url`` and ``--public-key``."""
    command = click.option(
        "--public-key",
        "public_keys",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        multiple=True,
        help="File with the repository's public (master) key; may be given again. Needed with --url.",
    )(command)
    return click.option(
        "--url", help="Read from here (http, https or file; the folder of .cvmfspublished) instead of our own."
    )(command)


@dataclass(frozen=True, slots=True)
class Opened:
    """A source that is open: the verifying reader, and the store it reads from."""

    reader: RepositoryReader
    store: ReadableStore


def open_source(session: Session, repo: str, source: Source) -> Opened:
    """Open what a command asked for; nothing is fetched yet from another source than our own.

    Args:
        session: this invocation.
        repo: the repository's name, or the label of one of ours.
        source: another source than our own.

    Raises:
        InvalidInput: the name or the source makes no sense.
    """
    if source.url is None:
        if source.public_keys:
            msg = "--public-key belongs to --url; our own repositories' keys come from the vault"
            raise InvalidInput(msg)
        name = session.repository(repo)
        settings = session.backend.settings
        url = settings.cvmfs.url.rstrip("/")
        return Opened(session.backend.reader(name), open_store(f"{url}/{name}", settings.tls.ca_file))
    if not source.public_keys:
        msg = "--url needs --public-key: what is not verified is not shown"
        raise InvalidInput(msg)
    keys = [path.read_bytes() for path in source.public_keys]
    store = open_store(source.url)
    return Opened(RepositoryReader(store, repo, keys, now=session.now), store)
