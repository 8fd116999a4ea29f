"""``softman resync``: the difference between a bucket and its repository, now, or what it would be."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from softman.cli.output import Output, printable, size, warn
from softman.cli.session import Session, common_options, pass_session
from softman.cli.syncing import progress_in_words
from softman.cli.waiting import Resync, answer_of, asked, wait_option
from softman.model import PUBLISHED_PREFIX, Part, SyncProgress, SyncReport
from softman.names import RepositoryName
from softman.services.status import Status
from softman.tasks.catalogue import PLAN, RESYNC

_DOING = {"add": "to add", "change": "to change", "remove": "to remove", "verify": "to verify", "refuse": "refused"}


@click.command()
@click.argument("repo")
@click.option("--prefix", help="Only keys that begin so, cvmfs/ included: --prefix cvmfs/a/")
@click.option("--verify", is_flag=True, help="Read every object again and compare its content.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done; nothing is changed.")
@click.option(
    "--steps", type=click.IntRange(0, 1000), default=100, show_default=True, help="Steps that --dry-run shows."
)
@wait_option
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=300.0,
    show_default=True,
    help="Seconds to wait without a sign of progress.",
)
@common_options
@pass_session
def resync(
    session: Session,
    *,
    repo: str,
    prefix: str | None,
    verify: bool,
    dry_run: bool,
    steps: int,
    wait: bool,
    timeout: float,
) -> None:
    """Compare the bucket of REPO with the repository, in full or in part, and publish the difference.

    Objects that are published as they are now are not read again, unless --verify is given. A resync in full looks
    again at what was refused, too.
    """
    name = session.repository(repo)
    part = Part(PUBLISHED_PREFIX if prefix is None else prefix, verify=verify)
    status = session.backend.status()
    before = status.reports(name)  # an unknown repository is refused here, not in a worker's log
    if dry_run:
        sent = session.backend.send(PLAN, str(name), prefix, verify, steps)
        _show_plan(session.output, name, answer_of(sent, f"the plan for {name}", timeout))
        return
    waiting = Resync(session.backend, name)
    sent = session.backend.send(RESYNC, str(name), *([] if part == Part() else [prefix, verify]))
    if not wait:
        asked(session.output, name, sent.task_id)
        return
    with _progress_shown(session.output) as show:
        for progress in waiting.progress(sent, timeout):
            show(progress)
    if session.output.as_json:
        session.output.record(status.in_full(name))
    else:
        _show_end(session.output, status, name, part, before)


def _show_plan(output: Output, name: RepositoryName, plan: Any) -> None:
    if output.as_json:
        output.record(plan)
        return
    steps = plan["steps"]
    if steps:
        rows = ((step["action"], step["key"] or step["path"], step["reason"] or step["path"]) for step in steps)
        output.table(("step", "key", "path, or why"), rows)
    counts = [f"{count:,} {_DOING.get(action, action)}" for action, count in plan["counts"].items()]
    more = "" if plan["complete"] else f"; the first {len(steps):,} are shown"
    summary = f"{name}: {', '.join(counts) or 'nothing to do'}{more}"
    if output.on_terminal:
        output.line(summary)
    else:
        warn(summary)


def _show_end(output: Output, status: Status, name: RepositoryName, part: Part, before: list[SyncReport]) -> None:
    described = status.repository(name)
    where = "its bucket" if part.prefix == PUBLISHED_PREFIX else f"what begins with {part.prefix} in its bucket"
    last = before[0].finished_at if before else 0.0
    new = [report for report in status.reports(name) if report.finished_at > last]
    output.line(f"{name} shows {where}: revision {described.revision}, {_sum_in_words(new)}")
    if described.refusals:
        output.line(f"keys that are not published: {len(described.refusals):,}; why: softman refused {name.label}")


def _sum_in_words(reports: list[SyncReport]) -> str:
    if not reports:
        return "nothing had to change"
    added, changed, removed, read = (
        sum(getattr(report, each) for report in reports) for each in ("added", "changed", "removed", "bytes_read")
    )
    repaired = sum(report.repaired for report in reports)
    more = f", {repaired:,} repaired in the storage" if repaired else ""
    return f"{added:,} added, {changed:,} changed, {removed:,} removed, {size(read)} read{more}"


class _Shown:
    """A line with a bar on standard error that changes as a sync goes on."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._task = bar.add_task("waiting for a worker", total=None)

    def __call__(self, progress: SyncProgress | None) -> None:
        if progress is None:
            return
        total = None if progress.remaining is None else progress.done + progress.remaining
        text = printable(progress_in_words(progress))
        self._bar.update(self._task, description=text, completed=progress.done, total=total)


@contextmanager
def _progress_shown(output: Output) -> Iterator[Any]:
    """What shows progress: a bar when a person looks on, else nothing."""
    if output.as_json or not sys.stderr.isatty():
        yield lambda _progress: None
        return
    # Here, because it takes longer to import than most commands run.
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - slow to import

    columns = (BarColumn(12), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Shown(bar)
