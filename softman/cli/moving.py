"""Repositories as archives, on stratum 0: ``softman export``, ``import``, ``backup`` and ``restore-backup``."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from softman.cli.output import size, warn
from softman.cli.session import Session, common_options, pass_session
from softman.errors import InvalidInput, NameTaken

if TYPE_CHECKING:
    from softman.names import RepositoryName

SUFFIX = ".softman.tar"
_SHOWN = 256 * 1024 * 1024
"""Bytes after which progress is told."""


@click.command()
@click.argument("repo")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--keys", is_flag=True, help="With its keys: whoever reads FILE can then sign for REPO.")
@common_options
@pass_session
def export(session: Session, *, repo: str, file: Path, keys: bool) -> None:
    """Write REPO with its history into FILE, which only you can read. On the host of stratum 0.

    Without its keys it can be brought back only where the vault still has them.
    """
    name = session.repository(repo)
    _export(session, name, file, keys=keys)


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@common_options
@pass_session
def bring_in(session: Session, *, file: Path) -> None:
    """Make a repository of what "softman export" wrote. On the host of stratum 0.

    It shows what it showed, under the same keys. Nothing is published from its bucket until "softman resume": what the
    bucket does not have would be removed.
    """
    _import(session, file)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@common_options
@pass_session
def backup(session: Session, *, folder: Path) -> None:
    """Write all repositories with their keys into FOLDER, one archive each. On the host of stratum 0.

    Only you can read them. Whoever else can, can sign for every repository: keep them where you keep keys.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        msg = f"others may look into {folder}, and keys come there: chmod 700 {folder}"
        raise InvalidInput(msg)
    for name in session.backend.porter().stored():
        _export(session, name, folder / f"{name}{SUFFIX}", keys=True, replace=True)


@click.command("restore-backup")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@common_options
@pass_session
def restore_backup(session: Session, *, folder: Path) -> None:
    """Make all repositories of a backup that are not there, as "softman import" does. On the host of stratum 0.

    May be repeated when it was interrupted.
    """
    for file in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            _import(session, file)
        except NameTaken as exc:
            warn(f"{file.name} is left out: {exc}")


def _export(session: Session, name: "RepositoryName", file: Path, *, keys: bool, replace: bool = False) -> None:
    part = file.with_name(f"{file.name}.part")
    if file.exists() and not replace:
        msg = f"{file} is there already"
        raise InvalidInput(msg)
    part.unlink(missing_ok=True)
    try:
        with _private(part) as target, _progress(session, f"{name}") as told:
            session.backend.porter().export(name, target, keys=keys, progress=told)
            target.flush()
            os.fsync(target.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    session.backend.audit("export with keys" if keys else "export", name, str(file))
    count = file.stat().st_size
    if session.as_json:
        session.output.record({"repository": str(name), "file": str(file), "bytes": count, "keys": keys})
    else:
        session.output.line(f"{name}: {size(count)} in {file}{', with its keys' if keys else ''}")


def _import(session: Session, file: Path) -> None:
    with file.open("rb") as source, _progress(session, file.name) as told:
        record = session.backend.porter().bring_in(source, progress=told)
    name = record.repository
    session.backend.audit("import", name, str(file))
    if session.as_json:
        session.output.record({"repository": str(name), "state": record.state, "file": str(file)})
    else:
        session.output.line(f"{name} is back; to publish from its bucket: softman resume {name.label}")


@contextmanager
def _private(file: Path) -> Iterator[IO[bytes]]:
    """A new file that nobody else can read at any moment."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        yield target


@contextmanager
def _progress(session: Session, what: str) -> Iterator[Callable[[int], object]]:
    """Say now and then how much is done, when a person looks on."""
    done = told = 0

    def more(count: int) -> None:
        nonlocal done, told
        done += count
        if done - told >= _SHOWN and not session.as_json and sys.stderr.isatty():
            told = done
            warn(f"{what}: {size(done)} ...")

    yield more
