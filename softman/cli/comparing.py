"""``softman diff``, and what ``softman repo diff`` shares with it: what changed between two revisions."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import click

from softman.cli.output import Output, when
from softman.cli.session import Session, common_options, pass_session
from softman.cli.showing import typed_path
from softman.cli.sources import Source, open_source, source_options
from softman.cvmfs.diff import Added, Difference, Removed, differences
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.snapshot import Snapshot
from softman.errors import InvalidInput, NotFound
from softman.services.browsing import changed_aspects

_WORDS = {Added: ("+", "added"), Removed: ("-", "removed")}
_CHANGED = ("~", "changed")


@click.command()
@click.argument("repo")
@click.argument("old", required=False)
@click.argument("new", required=False)
@click.option("--path", default="/", show_default=True, help="Look only at this entry and what is below.")
@source_options
@common_options
@pass_session
def diff(
    session: Session,
    *,
    repo: str,
    old: str | None,
    new: str | None,
    path: str,
    url: str | None,
    public_keys: tuple[Path, ...],
) -> None:
    """Show what changed in REPO from revision OLD to NEW: by default what the last revision changed.

    OLD and NEW are numbers or tags (softman log shows numbers); NEW is by default the revision in force. Lines begin
    with + for what was added, - for what was removed, ~ for what was changed, and say then what of it.
    """
    reader = open_source(session, repo, Source(url, public_keys)).reader
    with two_revisions(reader, old, new) as (before, after):
        show_differences(session.output, before, after, path)


@contextmanager
def two_revisions(reader: RepositoryReader, old: str | None, new: str | None) -> Iterator[tuple[Snapshot, Snapshot]]:
    """Open two revisions, each a number or a tag; None stands for the one in force, and for the one before it.

    Raises:
        InvalidInput: there is no such number.
        NotFound: there is no revision before the one in force.
        CvmfsError: a revision is not there, or cannot be read.
    """
    with ExitStack() as opened:
        if old is None:
            newest, *earlier = islice(reader.revisions(), 2)
            if not earlier:
                msg = f"{reader.repository} has only revision {newest.number}: there is nothing to compare it with"
                raise NotFound(msg)
            old, new = str(earlier[0].number), str(newest.number)
        before = opened.enter_context(_open(reader, old))
        yield before, opened.enter_context(_open(reader, new))


def show_differences(output: Output, before: Snapshot, after: Snapshot, path: str) -> None:
    """Print what changed at and below a path, on a terminal with a sum."""
    counts: dict[str, int] = {"added": 0, "changed": 0, "removed": 0}
    for found in differences(before, after, typed_path(path)):
        sign, word = _WORDS.get(type(found), _CHANGED)
        counts[word] += 1
        _show(output, found, sign, word)
    if output.on_terminal and not output.as_json:
        total = ", ".join(f"{count} {word}" for word, count in counts.items())
        output.line(f"{_in_words(before)} to {_in_words(after)}: {total}")


def _open(reader: RepositoryReader, text: str | None) -> Snapshot:
    if text is None:
        return reader.snapshot()
    if not text.isdecimal():
        return reader.snapshot(tag=text)
    if int(text) < 1:
        msg = "revisions are numbered from 1 on"
        raise InvalidInput(msg)
    return reader.snapshot(revision=int(text))


def _show(output: Output, found: Difference, sign: str, word: str) -> None:
    aspects = [] if isinstance(found, Added | Removed) else changed_aspects(found)
    if output.as_json:
        output.record({"change": word, "path": found.path, "what": aspects})
        return
    what = f"  ({', '.join(aspects)})".encode() if aspects else b""
    output.raw_line(sign.encode() + b" " + (found.path or b"/") + what)


def _in_words(snapshot: Snapshot) -> str:
    manifest = snapshot.manifest
    return f"revision {manifest.revision} ({when(manifest.published_at)} UTC)"
