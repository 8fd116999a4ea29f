"""Commands about the service: ask for a repository, look how things stand."""

import click

from softman.cli.output import Output, size, warn, when
from softman.cli.session import Session, common_options, pass_session
from softman.cli.syncing import backlog_in_words, progress_in_words, sync_in_words
from softman.cli.waiting import Chain, asked, links_of, wait_option
from softman.errors import NotFound
from softman.model import Backlog, LinkState, RepositoryStatus
from softman.names import Kind, Owner, RepositoryName
from softman.tasks.catalogue import PROVISION

_REFUSALS = 10
"""Refused keys that are shown of a repository; softman refused shows all."""
_timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds to wait."
)


@click.command()
@click.argument("user")
@click.option("--subject", help="The user's subject (the sub claim of their login). [default: USER]")
@click.option("--group", help="Ask for the repository of this group instead of a personal one.")
@wait_option
@_timeout_option
@common_options
@pass_session
def request(session: Session, *, user: str, subject: str | None, group: str | None, wait: bool, timeout: float) -> None:
    """Ask for the repository of USER, or of a group.

    Asking again gives the same repository and completes whatever was left half done.
    """
    kind = Kind.GROUP if group is not None else Kind.PERSONAL
    owner = Owner(user, subject or user, kind, group)
    name = RepositoryName(owner.label, session.backend.settings.domain)
    status = session.backend.status()
    before = links_of(status, name)
    sent = session.backend.send(PROVISION, user, owner.subject, kind.value, group)
    output = session.output
    if not wait:
        asked(output, name, sent.task_id)
        return
    for progress in Chain(status, name, before).finished(sent, timeout):
        if output.as_json:
            output.record(progress)
        else:
            output.line(f"{progress.link.value:<18} {progress.detail or progress.state.value}")
    described = status.repository(name)
    if output.as_json:
        output.record(described)
    else:
        output.line(f"{name} is ready: put files into s3://{name.bucket}/cvmfs/, read them at {described.url}")


@click.command()
@click.argument("repo", required=False)
@common_options
@pass_session
def status(session: Session, repo: str | None) -> None:
    """Show all repositories, or everything about one.

    REPO is a repository's name; its label is enough for one of our domain.
    """
    output = session.output
    answers = session.backend.status()
    if repo is not None:
        described = answers.in_full(session.repository(repo))
        if output.as_json:
            output.record(described)
        else:
            _show_one(output, described)
        _warn_of_expiry(session, described)
        return
    for concern in answers.concerns():
        warn(concern)
    repositories = answers.repositories()
    if output.as_json:
        for described in repositories:
            output.record(described)
    elif repositories or not output.on_terminal:
        output.table(
            ("repository", "owner", "state", "revision", "pending", "refused", "last sync"), map(_row, repositories)
        )
    else:
        output.line("no repositories yet; ask for one with: softman request USER")


@click.command()
@click.argument("repo")
@click.option("--next", "following", is_flag=True, help="The one that is announced, to be taken besides the present.")
@common_options
@pass_session
def key(session: Session, repo: str, *, following: bool) -> None:
    """Print the public key of REPO, with which clients mount it: softman key alice > alice.example.org.pub."""
    name = session.repository(repo)
    keys = session.backend.public_keys(name)
    if following and len(keys) == 1:
        msg = f"no other public key is announced for {name}"
        raise NotFound(msg)
    text = keys[1 if following else 0].decode()
    if session.output.as_json:
        url = session.backend.status().repository(name).url
        session.output.record({"repository": str(name), "url": url, "public_key": text})
    else:
        session.output.line(text.rstrip("\n"))


def _row(described: RepositoryStatus) -> tuple[str, ...]:
    return (
        str(described.name),
        described.owner.label,
        _state(described),
        "-" if described.revision is None else str(described.revision),
        str(described.pending),
        str(len(described.refusals)),
        when(described.last.finished_at) if described.last else "-",
    )


def _state(described: RepositoryStatus) -> str:
    broken = next((link for link in described.links if link.state is LinkState.FAILED), None)
    if broken is not None:
        return f"stopped: {broken.link.value}"
    if described.pause is not None:
        return "paused"
    return "not published" if described.failure is not None else described.state.value


def _standing(described: RepositoryStatus) -> str:
    """The state, with what was decided about it."""
    state = described.state.value
    pause, retirement = described.pause, described.retirement
    if retirement is not None:
        label = described.name.label
        if retirement.dropped:
            return f"{state} since {when(retirement.since)} UTC; content and keys are removed"
        until = "" if retirement.keep_content else f", removed after {when(retirement.until)} UTC"
        return f"{state} since {when(retirement.since)} UTC{until}; to bring it back: softman restore {label}"
    if pause is not None:
        return f"{state}, paused since {when(pause.since)} UTC: {pause.reason}; softman resume {described.name.label}"
    return state


def _show_one(output: Output, described: RepositoryStatus) -> None:
    owner, progress = described.owner, described.progress
    output.facts(
        [
            ("repository", str(described.name)),
            ("owner", f"group {owner.group}" if owner.group else f"{owner.user} ({owner.subject})"),
            ("state", _standing(described)),
            ("bucket", f"s3://{described.name.bucket}/cvmfs/"),
            ("url", described.url),
            ("revision", "-" if described.revision is None else str(described.revision)),
            ("holds", _usage_in_words(described)),
            ("whitelist", _whitelist_in_words(described)),
            ("pending", backlog_in_words(described.backlog or Backlog(described.pending))),
            *([] if progress is None else [("now", progress_in_words(progress))]),
            ("last sync", "-" if described.last is None else sync_in_words(described.last)),
        ]
    )
    if described.failure is not None:
        failure = described.failure
        output.line()
        output.line(
            f"not published since {when(failure.since)} UTC, {failure.times} attempts: {failure.reason}; "
            f"tried again at {when(failure.again_at)} UTC, or by softman resync {described.name.label}"
        )
    if described.faults:
        output.line()
        output.line("missing or damaged in the storage; what the bucket still has is repaired by itself:")
        faults = [(when(fault.since), fault.path or fault.object or "-", fault.message) for fault in described.faults]
        output.table(("since (UTC)", "path or object", "what"), faults[:_REFUSALS])
    if described.links:
        output.line()
        rows = [(link.link.value, link.state.value, when(link.at), link.detail) for link in described.links]
        output.table(("link", "state", "since (UTC)", "detail"), rows)
    if described.refusals:
        output.line()
        shown = described.refusals[:_REFUSALS]
        output.table(("not published", "because"), [(refusal.key, refusal.reason) for refusal in shown])
        if len(described.refusals) > len(shown):
            rest = len(described.refusals) - len(shown)
            output.line(f"and {rest:,} more keys: softman refused {described.name.label}")


def _whitelist_in_words(described: RepositoryStatus) -> str:
    expires = described.whitelist_expires
    return "unknown" if expires is None else f"valid until {when(expires)} UTC"


def _warn_of_expiry(session: Session, described: RepositoryStatus) -> None:
    """A whitelist is signed anew after half of its time; one that comes near its end was not."""
    days = session.backend.settings.cvmfs.whitelist_alarm_days
    expires = described.whitelist_expires
    if expires is not None and expires - session.now().timestamp() < days * 86400:
        warn(
            f"the whitelist of {described.name} was not signed anew, and clients refuse the repository when it has "
            f"expired; on the host of stratum 0: softman audit --repository {described.name}"
        )


def _usage_in_words(described: RepositoryStatus) -> str:
    quotas, usage = described.quotas, described.usage
    if usage is None:
        return f"unknown; {quotas.max_entries:,} entries and {size(quotas.max_bytes)} are possible"
    entries = f"{usage.entries:,} entries ({_share(usage.entries, quotas.max_entries)} of {quotas.max_entries:,})"
    return f"{entries}, {size(usage.bytes)} ({_share(usage.bytes, quotas.max_bytes)} of {size(quotas.max_bytes)})"


def _share(part: int, whole: int) -> str:
    return f"{part / max(whole, 1):.1%}"
