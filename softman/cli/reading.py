"""Commands that read a repository through the verifying reader: nothing that fails verification is shown as good."""

import os
import stat
from pathlib import Path

import click

from softman.cli.download import Copied, download
from softman.cli.history import revisions
from softman.cli.output import Output, size, warn, when, write_bytes
from softman.cli.session import Session, common_options, pass_session
from softman.cli.sources import Source, open_source, source_options
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.snapshot import Snapshot


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
        top = snapshot.lookup(_path(path))
        if not top.is_dir:
            entries = iter([top])
        else:
            entries = snapshot.walk(top.path) if recursive else snapshot.listdir(top.path)
        for entry in entries:
            _show_entry(session.output, entry, name=entry.path if recursive else entry.name, long=long)


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
        for chunk in snapshot.read_file(_path(path)):
            write_bytes(chunk)


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
    source_path = _path(path)
    place = destination or Path()
    if place.is_dir():
        place /= os.fsdecode(source_path.rsplit(b"/", 1)[-1]) or repo
    with _reader(session, repo, url, public_keys).snapshot() as snapshot:
        copied = download(snapshot, source_path, place)
        _show_copy(session.output, copied, place, snapshot)


@click.command()
@click.argument("repo")
@click.option("-n", "--number", type=click.IntRange(min=1), default=20, show_default=True, help="Revisions to show.")
@source_options
@common_options
@pass_session
def log(session: Session, repo: str, number: int, url: str | None, public_keys: tuple[Path, ...]) -> None:
    """Show the revisions of REPO, the newest first."""
    source = open_source(session, repo, Source(url, public_keys))
    found = revisions(source.store, source.reader.manifest(), number)
    output = session.output
    if output.as_json:
        for revision in found:
            output.record(revision)
        return
    rows = (
        (str(revision.revision), when(revision.published_at), revision.root_hash, str(revision.entries))
        for revision in found
    )
    output.table(("revision", "date (UTC)", "root hash", "entries"), rows)


def _reader(session: Session, repo: str, url: str | None, public_keys: tuple[Path, ...]) -> RepositoryReader:
    return open_source(session, repo, Source(url, public_keys)).reader


def _path(text: str) -> bytes:
    """A path as people write it (``/a/b/``, ``a/b``) in the library's form (``/a/b``; empty for the root)."""
    parts = [part for part in os.fsencode(text).split(b"/") if part not in {b"", b"."}]
    return b"".join(b"/" + part for part in parts)


def _show_entry(output: Output, entry: Entry, *, name: bytes, long: bool) -> None:
    if output.as_json:
        output.record(
            {
                "path": entry.path,
                "type": _type(entry),
                "mode": stat.S_IMODE(entry.mode),
                "size": entry.size,
                "mtime": entry.mtime,
                "hash": None if entry.hash is None else str(entry.hash),
                "target": entry.symlink if entry.is_symlink else None,
            }
        )
    elif long:
        target = b" -> " + entry.symlink if entry.is_symlink else b""
        head = f"{stat.filemode(entry.mode)} {entry.size:>12} {when(entry.mtime)} "
        output.raw_line(head.encode() + name + target)
    else:
        output.raw_line(name)


def _type(entry: Entry) -> str:
    if entry.is_dir:
        return "directory"
    if entry.is_symlink:
        return "symlink"
    return "file" if stat.S_ISREG(entry.mode) else "special"


def _show_copy(output: Output, copied: Copied, place: Path, snapshot: Snapshot) -> None:
    for path, reason in copied.skipped:
        warn(f"left out: {os.fsdecode(path)} {reason}")
    revision = snapshot.manifest.revision
    if output.as_json:
        output.record({"destination": str(place), "revision": revision, "copied": copied})
        return
    output.line(
        f"{place}: {copied.files} files, {copied.directories} directories, {copied.links} symbolic links, "
        f"{size(copied.size)}, as of revision {revision}"
    )
