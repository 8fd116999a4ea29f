"""``softman repo diff`` and ``check``: what changed between two revisions, and whether all is in order."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from softman.cli.comparing import show_differences, two_revisions
from softman.cli.output import Output
from softman.cli.repo.storage import open_for_reading, read_options
from softman.cli.session import Session, common_options, pass_session
from softman.cli.showing import typed_path
from softman.cvmfs.integrity import Extent, Progress, check_repository
from softman.cvmfs.problems import Problem
from softman.cvmfs.store.local import LocalStore
from softman.errors import Corrupt, InvalidInput


@click.command()
@click.argument("name")
@click.argument("path", default="/")
@click.option("--content", is_flag=True, help="Read every object, and compare its hash and size.")
@click.option("--tags", is_flag=True, help="Check the trees of all tags, too.")
@click.option("--unreferenced", is_flag=True, help="Look for objects that nothing refers to; --url must be file:///.")
@read_options
@common_options
@pass_session
def check(
    session: Session,
    *,
    name: str,
    path: str,
    content: bool,
    tags: bool,
    unreferenced: bool,
    url: str,
    public_keys: tuple[Path, ...],
) -> None:
    """Check NAME, or only PATH in it: signatures, catalogs, counters, and whether all objects are there.

    Every problem comes with advice. Problems that clients can notice end the command with exit code 18.
    """
    store = open_for_reading(session, name, url, public_keys).store
    storage = store if isinstance(store, LocalStore) else None
    if unreferenced and storage is None:
        msg = "a web server cannot be listed: --unreferenced needs the storage, --url file:///..."
        raise InvalidInput(msg)
    extent = Extent(typed_path(path), content=content, tags=tags, unreferenced=unreferenced)
    keys = [key.read_bytes() for key in public_keys]
    found = harmful = 0
    with _progress(session.output) as progress:
        for problem in check_repository(
            store, name, keys, now=session.now, extent=extent, storage=storage, progress=progress
        ):
            found += 1
            harmful += not problem.is_harmless
            _show(session.output, problem)
    if harmful:
        raise Corrupt(f"{name}: {_counted(found, 'problem')} found")
    if not session.output.as_json:
        session.output.line(
            f"{name}: " + (f"{_counted(found, 'harmless problem')} found" if found else "no problems found")
        )


def _show(output: Output, problem: Problem) -> None:
    if output.as_json:
        shown = {"kind": problem.kind.value, "where": problem.where, "message": problem.message}
        output.record(shown | {"advice": problem.advice})
    else:
        output.line(str(problem))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@contextmanager
def _progress(output: Output) -> Iterator[Progress | None]:
    """A progress bar on standard error, when a person looks at it."""
    if output.as_json or not sys.stderr.isatty():
        yield None
        return
    # Here, because it takes longer to import than most commands run.
    from rich import progress  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    columns = (
        progress.TextColumn("{task.completed} entries"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeElapsedColumn(),
    )
    # Problems on the same terminal go above the bar; anywhere else they go where they should.
    with progress.Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=output.on_terminal
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda more, total: bar.update(task, advance=more, total=total)


@click.command()
@click.argument("name")
@click.argument("old")
@click.argument("new", required=False)
@click.option("--path", default="/", show_default=True, help="Look only at this entry and what is below.")
@read_options
@common_options
@pass_session
def diff(
    session: Session, *, name: str, old: str, new: str | None, path: str, url: str, public_keys: tuple[Path, ...]
) -> None:
    """Show what changed in NAME from revision OLD to NEW, by default to the one in force.

    OLD and NEW are numbers or tags. Lines begin with + for what was added, - for what was removed, ~ for what was
    changed, and say then what of it.
    """
    reader = open_for_reading(session, name, url, public_keys).reader
    with two_revisions(reader, old, new) as (before, after):
        show_differences(session.output, before, after, path)
