"""``softman syncs``, ``refused`` and ``pending``: what was synced, what is refused, what is to be published yet."""

import click

from softman.cli.output import size, when
from softman.cli.session import Session, common_options, pass_session
from softman.model import Backlog, SyncProgress, SyncReport

_MOST_KEYS = 10_000


@click.command()
@click.argument("repo")
@click.option("-n", "--number", type=click.IntRange(min=1), default=20, show_default=True, help="Syncs to show.")
@common_options
@pass_session
def syncs(session: Session, repo: str, number: int) -> None:
    """Show the last syncs of REPO that changed something, the newest first; 50 are kept.

    Columns: when it ended, the revision that it made, objects added (+), changed (~) and removed (-), keys refused,
    what was read from the bucket, seconds, and what was synced.
    """
    output = session.output
    reports = session.backend.status().reports(session.repository(repo))[:number]
    if output.as_json:
        for report in reports:
            output.record(report)
    elif reports or not output.on_terminal:
        columns = ("date (UTC)", "rev", "+", "~", "-", "refused", "read", "s", "synced")
        output.table(columns, map(_sync_row, reports))
    else:
        output.line("nothing was published lately")


@click.command()
@click.argument("repo")
@click.option("--prefix", default="", help="Only keys that begin so, cvmfs/ included.")
@common_options
@pass_session
def refused(session: Session, repo: str, prefix: str) -> None:
    """Show every key in the bucket of REPO that is not published, and why; 10,000 are kept."""
    output = session.output
    refusals = session.backend.status().refusals(session.repository(repo))
    found = [refusal for refusal in refusals if refusal.key.startswith(prefix)]
    if output.as_json:
        for refusal in found:
            output.record(refusal)
    elif found or not output.on_terminal:
        output.table(("not published", "because"), ((refusal.key, refusal.reason) for refusal in found))
    else:
        output.line("no key is refused")


@click.command()
@click.argument("repo")
@click.option(
    "-n", "--number", type=click.IntRange(0, _MOST_KEYS), default=100, show_default=True, help="Keys to show."
)
@common_options
@pass_session
def pending(session: Session, repo: str, number: int) -> None:
    """Show which keys of REPO changed and are not published yet.

    Keys wait until a publisher takes them; it publishes several at once. Of more keys than are shown, any may be.
    """
    output = session.output
    name = session.repository(repo)
    backlog = session.backend.status().backlog(name, number)
    if output.as_json:
        output.record({"repository": str(name), **_fields(backlog)})
        return
    rows = [(key, "waits") for key in backlog.keys] + [(key, "being published") for key in backlog.keys_in_flight]
    if rows or not output.on_terminal:
        output.table(("key", "state"), rows)
    if output.on_terminal:
        output.line(f"pending of {name}: {backlog_in_words(backlog)}")


def backlog_in_words(backlog: Backlog) -> str:
    """What is to be published yet."""
    parts = []
    if backlog.pending:
        parts.append(f"{_count(backlog.pending, 'key')} waiting")
    if backlog.in_flight:
        parts.append(f"{_count(backlog.in_flight, 'key')} being published")
    if backlog.everything:
        parts.append("the whole bucket is to be compared")
    return ", ".join(parts) or "nothing"


def progress_in_words(progress: SyncProgress) -> str:
    """How far a sync is."""
    parts = [f"{progress.compared:,} compared"] if progress.compared else []
    parts.append(f"{progress.objects:,} objects done ({progress.objects_per_second:,.0f}/s)")
    if progress.bytes_read:
        parts.append(f"{size(progress.bytes_read)} read ({size(round(progress.bytes_per_second))}/s)")
    if progress.remaining is not None:
        inside = "" if progress.remaining_bytes is None else f" ({size(progress.remaining_bytes)})"
        parts.append(f"{progress.remaining:,}{inside} left")
    if progress.revision is not None:
        parts.append(f"revision {progress.revision} is out")
    return f"{progress.scope}: {', '.join(parts)}"


def sync_in_words(report: SyncReport) -> str:
    """What a sync did, and when."""
    refusals = f", {report.refusals} refused" if report.refusals else ""
    refusals += f", {report.repaired} repaired in the storage" if report.repaired else ""
    return (
        f"{when(report.finished_at)} UTC: {report.added} added, {report.changed} changed, {report.removed} removed, "
        f"{report.unchanged} unchanged{refusals}, {size(report.bytes_read)} read in {report.seconds:.1f} s"
    )


def _sync_row(report: SyncReport) -> tuple[str, ...]:
    return (
        when(report.finished_at)[:16],
        str(report.revision),
        str(report.added),
        str(report.changed),
        str(report.removed),
        str(report.refusals),
        size(report.bytes_read),
        f"{report.seconds:.1f}",
        report.scope or "-",
    )


def _fields(backlog: Backlog) -> dict[str, object]:
    return {name: getattr(backlog, name) for name in backlog.__dataclass_fields__}


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
