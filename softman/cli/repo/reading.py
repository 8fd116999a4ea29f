"""``softman repo ls``, ``stat``, ``cat``, ``get`` and ``log``: any repository by its URL and public key."""

import stat as modes
from itertools import islice
from pathlib import Path

import click

from softman.cli.output import Output, typed_path, when
from softman.cli.repo.storage import Past, open_for_reading, open_snapshot, past_options, read_options
from softman.cli.session import Session, common_options, pass_session
from softman.cli.showing import (
    copy_out,
    show_content,
    show_listing,
)
from softman.cvmfs.format.entry import Entry
from softman.services.browsing import kind_of


@click.command()
@click.argument("name")
@click.argument("path", default="/")
@click.option("-l", "--long", is_flag=True, help="Show mode, size, time and the target of symbolic links.")
@click.option("-R", "--recursive", is_flag=True, help="Show everything below PATH, with whole paths.")
@read_options
@past_options
@common_options
@pass_session
def ls(
    session: Session,
    *,
    name: str,
    path: str,
    long: bool,
    recursive: bool,
    url: str,
    public_keys: tuple[Path, ...],
    tag: str | None,
    revision: int | None,
) -> None:
    """List PATH (default: the root) of the repository NAME."""
    with open_snapshot(session, name, url, public_keys, Past(tag, revision)) as snapshot:
        show_listing(session.output, snapshot, path, long=long, recursive=recursive)


@click.command()
@click.argument("name")
@click.argument("path")
@read_options
@past_options
@common_options
@pass_session
def stat(
    session: Session,
    *,
    name: str,
    path: str,
    url: str,
    public_keys: tuple[Path, ...],
    tag: str | None,
    revision: int | None,
) -> None:
    """Show everything that the catalog has of PATH in NAME."""
    with open_snapshot(session, name, url, public_keys, Past(tag, revision)) as snapshot:
        _show_facts(session.output, snapshot.lookup(typed_path(path)))


@click.command()
@click.argument("name")
@click.argument("path")
@read_options
@past_options
@common_options
@pass_session
def cat(
    session: Session,
    *,
    name: str,
    path: str,
    url: str,
    public_keys: tuple[Path, ...],
    tag: str | None,
    revision: int | None,
) -> None:
    """Write the file PATH of NAME to standard output.

    Only verified bytes come out; when the exit code is not 0, some at the end are missing.
    """
    with open_snapshot(session, name, url, public_keys, Past(tag, revision)) as snapshot:
        show_content(snapshot, path)


@click.command()
@click.argument("name")
@click.argument("path")
@click.argument("destination", required=False, type=click.Path(path_type=Path))
@read_options
@past_options
@common_options
@pass_session
def get(
    session: Session,
    *,
    name: str,
    path: str,
    destination: Path | None,
    url: str,
    public_keys: tuple[Path, ...],
    tag: str | None,
    revision: int | None,
) -> None:
    """Copy PATH of NAME, with all below it, to DESTINATION.

    DESTINATION is a new name, or an existing directory to copy into (default: the current one). Symbolic links that
    lead out of the copy are left out and named. There is all or nothing: a copy that fails leaves nothing behind.
    """
    with open_snapshot(session, name, url, public_keys, Past(tag, revision)) as snapshot:
        copy_out(session.output, snapshot, name, path, destination)


@click.command()
@click.argument("name")
@click.option("-n", "--number", type=click.IntRange(min=1), default=20, show_default=True, help="Revisions to show.")
@read_options
@common_options
@pass_session
def log(session: Session, *, name: str, number: int, url: str, public_keys: tuple[Path, ...]) -> None:
    """Show the revisions of NAME that are kept, with their tags, the newest first."""
    reader = open_for_reading(session, name, url, public_keys).reader
    described = {tag.name: tag.description for tag in reader.history().tags}
    output, found = session.output, islice(reader.revisions(), number)
    if output.as_json:
        for revision in found:
            output.record(
                {
                    "revision": revision.number,
                    "published_at": revision.modified,
                    "root_hash": str(revision.root_hash),
                    "tags": [{"name": tag, "description": described.get(tag, "")} for tag in revision.tags],
                }
            )
        return
    rows = (
        (str(revision.number), when(revision.modified), str(revision.root_hash), " ".join(revision.tags))
        for revision in found
    )
    output.table(("revision", "date (UTC)", "root hash", "tags"), rows)


def _show_facts(output: Output, entry: Entry) -> None:
    if output.as_json:
        output.record(
            {
                "path": entry.path,
                "type": kind_of(entry),
                "mode": modes.S_IMODE(entry.mode),
                "size": entry.size,
                "mtime": entry.mtime,
                "mtime_ns": entry.mtime_ns,
                "uid": entry.uid,
                "gid": entry.gid,
                "links": entry.linkcount,
                "hash": None if entry.hash is None else str(entry.hash),
                "target": entry.symlink if entry.is_symlink else None,
                "compression": entry.compression.value if entry.is_file else None,
                "chunks": [{"offset": c.offset, "size": c.size, "hash": str(c.hash)} for c in entry.chunks],
                "xattrs": {key.decode(errors="backslashreplace"): value.hex() for key, value in entry.xattrs.items()},
            }
        )
        return
    facts = [
        ("path", entry.path.decode(errors="backslashreplace") or "/"),
        ("type", kind_of(entry)),
        ("mode", f"{modes.S_IMODE(entry.mode):04o} {modes.filemode(entry.mode)}"),
        ("size", str(entry.size)),
        ("modified", when(entry.mtime)),
        ("owner", f"{entry.uid}:{entry.gid}"),
        ("links", str(entry.linkcount)),
    ]
    if entry.hash is not None:
        facts.append(("hash", str(entry.hash)))
    if entry.is_symlink:
        facts.append(("target", entry.symlink.decode(errors="backslashreplace")))
    if entry.is_file:
        facts.append(("compression", entry.compression.value))
    facts += [("chunk", f"{chunk.offset} {chunk.size} {chunk.hash}") for chunk in entry.chunks]
    facts += [("xattr", f"{key!r} {value!r}") for key, value in sorted(entry.xattrs.items())]
    output.facts(facts)
