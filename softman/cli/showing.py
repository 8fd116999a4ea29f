"""What commands show of a snapshot, whether the repository is one of ours or any other."""

import os
import stat
from pathlib import Path

from softman.cli.download import Copied, download
from softman.cli.history import revisions
from softman.cli.output import Output, size, typed_path, warn, when, write_bytes
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.store import ReadableStore
from softman.services.browsing import kind_of

__all__ = ["copy_out", "show_content", "show_listing", "show_revisions", "typed_path"]


def show_listing(output: Output, snapshot: Snapshot, path: str, *, long: bool, recursive: bool) -> None:
    """List a directory, or show one entry."""
    top = snapshot.lookup(typed_path(path))
    list_directory = snapshot.walk if recursive else snapshot.listdir
    entries = list_directory(top.path) if top.is_dir else iter([top])
    for entry in entries:
        _show_entry(output, entry, name=entry.path if recursive else entry.name, long=long)


def show_content(snapshot: Snapshot, path: str) -> None:
    """Write a file to standard output."""
    for chunk in snapshot.read_file(typed_path(path)):
        write_bytes(chunk)


def copy_out(output: Output, snapshot: Snapshot, repo: str, path: str, destination: Path | None) -> None:
    """Copy a file or a tree to this machine, and say what was copied.

    Args:
        output: of the command.
        snapshot: the revision to read.
        repo: what a copy of the whole repository is called by default.
        path: of the file or directory.
        destination: a new name, or a directory to copy into; the current one by default.
    """
    source = typed_path(path)
    place = destination or Path()
    if place.is_dir():
        place /= os.fsdecode(source.rsplit(b"/", 1)[-1]) or repo
    _show_copy(output, download(snapshot, source, place), place, snapshot)


def show_revisions(output: Output, store: ReadableStore, manifest: Manifest, number: int) -> None:
    """Show up to ``number`` revisions, the newest first."""
    found = revisions(store, manifest, number)
    if output.as_json:
        for revision in found:
            output.record(revision)
        return
    rows = (
        (str(revision.revision), when(revision.published_at), revision.root_hash, str(revision.entries))
        for revision in found
    )
    output.table(("revision", "date (UTC)", "root hash", "entries"), rows)


def _show_entry(output: Output, entry: Entry, *, name: bytes, long: bool) -> None:
    if output.as_json:
        output.record(
            {
                "path": entry.path,
                "type": kind_of(entry),
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
