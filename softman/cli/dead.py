"""``softman dead``: messages that nobody could work on. List, show, put back, throw away."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from softman.cli.output import Output, when
from softman.cli.session import Session, common_options, pass_session
from softman.model import DeadLetter
from softman.services.deadletters import Selection
from softman.tasks.catalogue import EVENTS, TASK_QUEUES

_Command = TypeVar("_Command", bound=Callable[..., Any])
_SHOWN_CHARACTERS = 60


@click.group()
def dead() -> None:
    """Look at messages that nobody could work on, and put them back or throw them away.

    A task that gave up, a notification that cannot be read, a message whose workers were lost again and again: each is
    kept with its reason. Ids may be shortened to a beginning of four characters.
    """


def _selecting(command: _Command) -> _Command:
    """The options that name letters by what they are."""
    for option in (
        click.option("--older-than", type=click.FloatRange(min=0), metavar="HOURS", help="Here for so many hours."),
        click.option("--text", help="With this text in arguments, reason or body, such as a repository's name."),
        click.option("--queue", type=click.Choice([*TASK_QUEUES, EVENTS]), help="From this queue."),
        click.option("--task", help='Of this task, such as "publish_changes".'),
    ):
        command = option(command)
    return command


@dead.command("list")
@_selecting
@common_options
@pass_session
def list_(session: Session, /, **options: Any) -> None:
    """List dead letters, oldest first."""
    output = session.output
    letters = session.backend.dead_letters().find(_selection(session, (), **options))
    if output.as_json:
        for letter in letters:
            output.record(_fields(letter))
    elif letters or not output.on_terminal:
        output.table(("id", "since (UTC)", "from", "what", "times", "reason"), map(_row, letters))
    else:
        output.line("no dead letters")


@dead.command()
@click.argument("letter")
@common_options
@pass_session
def show(session: Session, letter: str) -> None:
    """Show one dead letter with its history and its body."""
    output = session.output
    found = session.backend.dead_letters().show(letter)
    if output.as_json:
        output.record({**_fields(found), "body": found.body.decode("utf-8", "backslashreplace")})
        return
    output.facts(
        [
            ("id", found.id),
            ("from", found.queue or "not known"),
            ("task", f"{found.task} ({found.task_id})" if found.task else "none"),
            ("arguments", found.arguments or "-"),
        ]
    )
    output.line()
    rows = [(when(death.at), death.queue or "-", death.reason) for death in found.deaths]
    output.table(("died (UTC)", "from", "reason"), rows)
    output.line()
    output.line(found.body.decode("utf-8", "backslashreplace"))


@dead.command()
@click.argument("letters", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@_selecting
@common_options
@pass_session
def requeue(session: Session, /, letters: tuple[str, ...], *, everything: bool, **options: Any) -> None:
    """Put LETTERS back to the queues they came from, or those that options select.

    Nothing is lost when this is interrupted: a letter leaves the dead letters after its queue has it.
    """
    selection = _chosen(session, letters, everything=everything, **options)
    stayed = session.backend.dead_letters().requeue(selection, _told(session.output, "back to"))
    if stayed:
        session.output.line(f"{stayed} stay: the queue they came from is not known")


@dead.command()
@click.argument("letters", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@_selecting
@common_options
@pass_session
def discard(session: Session, /, letters: tuple[str, ...], *, everything: bool, **options: Any) -> None:
    """Throw LETTERS away, or those that options select.

    Data is not lost by it: reconciliation compares every bucket in full, event or not.
    """
    selection = _chosen(session, letters, everything=everything, **options)
    session.backend.dead_letters().discard(selection, _told(session.output, "thrown away, from"))


def _chosen(session: Session, ids: tuple[str, ...], *, everything: bool, **options: Any) -> Selection:
    selection = _selection(session, ids, **options)
    if selection.is_everything and not everything:
        msg = "name letters, or select them by options, or say --all"
        raise click.UsageError(msg)
    return selection


def _selection(session: Session, ids: tuple[str, ...], *, older_than: float | None, **options: Any) -> Selection:
    before = None if older_than is None else session.backend.now().timestamp() - 3600 * older_than
    return Selection(ids=ids, before=before, **options)


def _told(output: Output, what: str) -> Callable[[DeadLetter], None]:
    def tell(letter: DeadLetter) -> None:
        if output.as_json:
            output.record(_fields(letter))
        else:
            output.line(f"{letter.id} {what} {letter.queue or 'an unknown queue'}: {_content(letter)}")

    return tell


def _content(letter: DeadLetter) -> str:
    if letter.task:
        return f"{letter.task} {letter.arguments}"
    return letter.body[: 2 * _SHOWN_CHARACTERS].decode("utf-8", "backslashreplace")


def _row(letter: DeadLetter) -> tuple[str, ...]:
    content = _content(letter)[:_SHOWN_CHARACTERS]
    return letter.id, when(letter.at), letter.queue or "-", content, str(len(letter.deaths)), letter.reason


def _fields(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "queue": letter.queue,
        "task": letter.task,
        "task_id": letter.task_id,
        "arguments": letter.arguments,
        "reason": letter.reason,
        "at": letter.at,
        "times": len(letter.deaths),
        "deaths": letter.deaths,
        "bytes": len(letter.body),
    }
