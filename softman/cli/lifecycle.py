"""The life of a repository: ``softman rollback``, ``resume``, ``retire``, ``restore`` and ``quotas``."""

from typing import Any

import click

from softman.cli.output import size, when
from softman.cli.session import Session, common_options, pass_session
from softman.cli.waiting import answer_of
from softman.tasks.catalogue import RESTORE, RESUME, RETIRE, ROLLBACK, SET_QUOTAS, TaskSpec

_timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds to wait."
)
_yes_option = click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")


@click.command()
@click.argument("repo")
@click.argument("revision", type=click.IntRange(1))
@_timeout_option
@common_options
@pass_session
def rollback(session: Session, *, repo: str, revision: int, timeout: float) -> None:
    """Show REPO as it was in an earlier REVISION (softman log lists them), as a new revision.

    The bucket is left as it is, and nothing of it is published any more until "softman resume REPO".
    """
    answer = _ask(session, repo, timeout, ROLLBACK, revision)
    _show(session, answer)


@click.command()
@click.argument("repo")
@_timeout_option
@common_options
@pass_session
def resume(session: Session, *, repo: str, timeout: float) -> None:
    """Publish again what the bucket of REPO says, after a rollback."""
    _show(session, _ask(session, repo, timeout, RESUME))


@click.command()
@click.argument("repo")
@click.option("--drop", is_flag=True, help="Remove content and keys, too, when it cannot be restored any more.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done; nothing is changed.")
@_yes_option
@_timeout_option
@common_options
@pass_session
def retire(session: Session, *, repo: str, drop: bool, dry_run: bool, yes: bool, timeout: float) -> None:
    """Give REPO up: its bucket is let go, publishers lose their key, and its name is given to nobody else.

    Clients go on reading it, unless --drop is given: then content and keys are removed when the time of grace is over
    (SOFTMAN_LIFECYCLE__GRACE_DAYS). Until then "softman restore REPO" brings everything back.
    """
    name = session.repository(repo)
    described = session.backend.status().in_full(name)
    usage = described.usage
    holds = "" if usage is None else f", {usage.entries:,} entries, {size(usage.bytes)},"
    then = "would be removed after the time of grace, with its keys" if drop else "would stay readable"
    if dry_run:
        message = f"{name} ({described.state}) would be given up; revision {described.revision}{holds} {then}"
        _show(session, {"repository": str(name), "message": message, "keep_content": not drop})
        return
    if drop and not yes:
        click.confirm(f"Remove content and keys of {name}{holds} after the time of grace?", abort=True, err=True)
    answer = _ask(session, repo, timeout, RETIRE, not drop)
    if not drop:
        _show(session, answer)
    else:
        until = f"until {when(answer['until'])} UTC it can be restored: softman restore {name.label}"
        _show(session, {**answer, "message": f"{answer['message']}; {until}"})


@click.command()
@click.argument("repo")
@_timeout_option
@common_options
@pass_session
def restore(session: Session, *, repo: str, timeout: float) -> None:
    """Take back that REPO was retired: with its content, its bucket, and a new gateway key."""
    _show(session, _ask(session, repo, timeout, RESTORE))


@click.command()
@click.argument("repo")
@click.option("--max-entries", type=click.IntRange(1), help="Entries of all kinds.")
@click.option("--max-bytes", type=click.IntRange(1), help="Bytes of uncompressed content.")
@click.option("--max-object-bytes", type=click.IntRange(1), help="Bytes of one object that is published as a file.")
@click.option("--max-archive-bytes", type=click.IntRange(1), help="Bytes of one archive, as it lies in the bucket.")
@_timeout_option
@common_options
@pass_session
def quotas(session: Session, /, *, repo: str, timeout: float, **wanted: int | None) -> None:
    """Change what REPO may hold, for administrators; without options, tell what it may hold."""
    changed = {name: value for name, value in wanted.items() if value is not None}
    name = session.repository(repo)
    if changed:
        _ask(session, repo, timeout, SET_QUOTAS, changed)
    described = session.backend.status().repository(name)
    if session.as_json:
        session.output.record({"repository": str(name), "quotas": described.quotas})
        return
    present = described.quotas
    session.output.facts(
        [
            ("entries", f"{present.max_entries:,}"),
            ("content", size(present.max_bytes)),
            ("one object", size(present.max_object_bytes)),
            ("one archive", size(present.max_archive_bytes)),
        ]
    )


def _ask(session: Session, repo: str, timeout: float, task: TaskSpec, *arguments: object) -> Any:
    name = session.repository(repo)
    session.backend.status().repository(name)  # an unknown one is refused here, not in a worker's log
    sent = session.backend.send(task, str(name), *arguments)
    return answer_of(sent, f"the task {task.name} for {name}", timeout)


def _show(session: Session, answer: Any) -> None:
    if session.as_json:
        session.output.record(answer)
    else:
        session.output.line(answer["message"])
