"""Looking after repositories: ``softman gc``, ``check``, ``reconcile`` and ``resign``."""

import sys
from typing import Any

import click

from softman.cli.output import size, warn
from softman.cli.session import Session, common_options, pass_session
from softman.cli.waiting import answer_of
from softman.errors import Corrupt
from softman.tasks.catalogue import CHECK, COLLECT_GARBAGE, RECONCILE, RECONCILE_REPOSITORY, RESIGN, TaskSpec

_timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=3600.0,
    show_default=True,
    help="Seconds to wait for each turn.",
)


@click.command()
@click.argument("repo")
@click.option("--dry-run", is_flag=True, help="Only tell what would go; nothing is changed.")
@_timeout_option
@common_options
@pass_session
def gc(session: Session, *, repo: str, dry_run: bool, timeout: float) -> None:
    """Collect garbage of REPO now: what no kept revision refers to goes.

    It is done by itself, too; SOFTMAN_LIFECYCLE__KEEP_REVISIONS and KEEP_DAYS say which revisions are kept.
    """
    turns = _turns(session, repo, timeout, COLLECT_GARBAGE, dry_run)
    total = {
        **turns[-1],
        **{each: sum(turn[each] for turn in turns) for each in ("objects", "bytes")},
        "revisions": max(turn["revisions"] for turn in turns),
    }
    if session.as_json:
        session.output.record(total)
        return
    verb = "would go" if dry_run else "went"
    revisions, objects = total["revisions"], total["objects"]
    young = f"; {total['young']:,} objects are too young to go yet" if total["young"] else ""
    kept = f"kept are {len(total['kept']):,} revisions"
    session.output.line(
        f"{revisions:,} revisions and {objects:,} objects with {size(total['bytes'])} {verb}; {kept}{young}"
    )


@click.command()
@click.argument("repo")
@_timeout_option
@common_options
@pass_session
def check(session: Session, *, repo: str, timeout: float) -> None:
    """Read everything that is stored of REPO now, and compare it with its catalogs; it is done by itself, too.

    The exit code says whether something is wrong.
    """
    turns = _turns(session, repo, timeout, CHECK)
    problems = [problem for turn in turns for problem in turn["problems"]]
    objects, read = (sum(turn[each] for turn in turns) for each in ("objects", "bytes"))
    if session.as_json:
        session.output.record({**turns[-1], "objects": objects, "bytes": read, "problems": problems})
    else:
        for problem in problems:
            session.output.line(f"{problem['kind']}: {problem['path']}: {problem['message']}")
        session.output.line(f"{objects:,} objects, {size(read)}: {len(problems) or 'no'} problems")
    if problems:
        msg = f"what is stored of {repo} is damaged: {len(problems)} problems"
        raise Corrupt(msg)


@click.command()
@click.argument("repo", required=False)
@common_options
@pass_session
def reconcile(session: Session, repo: str | None) -> None:
    """Compare every bucket with its repository, or that of REPO, behind the work of users; beat does it, too.

    Buckets that lost their notification are connected again. "softman resync REPO" waits for the result.
    """
    if repo is None:
        _asked(session, "every repository is compared with its bucket, one after the other", RECONCILE)
        return
    name = session.repository(repo)
    session.backend.status().repository(name)  # an unknown one is refused here, not in a worker's log
    _asked(session, f"{name} is compared with its bucket", RECONCILE_REPOSITORY, str(name))


@click.command()
@common_options
@pass_session
def resign(session: Session) -> None:
    """Sign every whitelist anew that is past half of its time; beat does it, too."""
    _asked(session, "whitelists are signed anew where it is due", RESIGN)


def _asked(session: Session, what: str, task: TaskSpec, *arguments: object) -> None:
    request = session.backend.send(task, *arguments)
    if session.as_json:
        session.output.record({"task": task.name, "task_id": request.task_id})
    else:
        session.output.line(f"asked (task {request.task_id}): {what}")


def _turns(session: Session, repo: str, timeout: float, task: TaskSpec, *arguments: object) -> list[Any]:
    """What each of the tasks answered; one that does not come to the end names the next."""
    name = session.repository(repo)
    session.backend.status().repository(name)  # an unknown one is refused here, not in a worker's log
    request = session.backend.send(task, str(name), *arguments)
    answers = []
    while True:
        answer = answer_of(request, f"the task {task.name} for {name}", timeout)
        answers.append(answer)
        following = answer.get("next")
        if following is None:
            return answers
        if not session.as_json and sys.stderr.isatty():
            warn(str(answer["message"]))
        request = session.backend.request(task, following)
