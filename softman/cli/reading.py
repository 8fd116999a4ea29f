"""Commands that read a repository through the verifying reader: nothing that fails verification is shown as good."""

from pathlib import Path

import click

from softman.cli.session import Session, common_options, pass_session
from softman.cli.showing import copy_out, show_content, show_listing, show_revisions
from softman.cli.sources import Source, open_source, source_options
from softman.cvmfs.reader import RepositoryReader


@click.command()
@click.argument("repo")
@click.argument("path", default="/")
@click.option("-l", "--long", is_flag=True, help="Show mode, size, time and the target of symbolic links.")
@click.option("-R", "--recursive", is_flag=True, help="Show everything below PATH, with whole paths.")
@source_options
@common_options
@pass_session
def ls(
    session: Session,
    *,
    repo: str,
    path: str,
    long: bool,
    recursive: bool,
    url: str | None,
    public_keys: tuple[Path, ...],
) -> None:
    """List PATH (default: the root) of the repository REPO."""
    with _reader(session, repo, url, public_keys).snapshot() as snapshot:
        show_listing(session.output, snapshot, path, long=long, recursive=recursive)


@click.command()
@click.argument("repo")
@click.argument("path")
@source_options
@common_options
@pass_session
def cat(session: Session, repo: str, path: str, url: str | None, public_keys: tuple[Path, ...]) -> None:
    """Write the file PATH of REPO to standard output.

    Only verified bytes come out; when the exit code is not 0, some at the end are missing.
    """
    with _reader(session, repo, url, public_keys).snapshot() as snapshot:
        show_content(snapshot, path)


@click.command()
@click.argument("repo")
@click.argument("path")
@click.argument("destination", required=False, type=click.Path(path_type=Path))
@source_options
@common_options
@pass_session
def get(
    session: Session,
    *,
    repo: str,
    path: str,
    destination: Path | None,
    url: str | None,
    public_keys: tuple[Path, ...],
) -> None:
    """Copy PATH of REPO, with all below it, to DESTINATION.

    DESTINATION is a new name, or an existing directory to copy into (default: the current one). Symbolic links that
    lead out of the copy are left out and named. There is all or nothing: a copy that fails leaves nothing behind.
    """
    with _reader(session, repo, url, public_keys).snapshot() as snapshot:
        copy_out(session.output, snapshot, repo, path, destination)


@click.command()
@click.argument("repo")
@click.option("-n", "--number", type=click.IntRange(min=1), default=20, show_default=True, help="Revisions to show.")
@source_options
@common_options
@pass_session
def log(session: Session, repo: str, number: int, url: str | None, public_keys: tuple[Path, ...]) -> None:
    """Show the revisions of REPO, the newest first."""
    source = open_source(session, repo, Source(url, public_keys))
    show_revisions(session.output, source.store, source.reader.manifest(), number)


def _reader(session: Session, repo: str, url: str | None, public_keys: tuple[Path, ...]) -> RepositoryReader:
    return open_source(session, repo, Source(url, public_keys)).reader
