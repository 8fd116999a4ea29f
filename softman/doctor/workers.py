"""The workers: which answer, with which version of softman."""

from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from softman.doctor.finding import Finding, broken, fine, unknown, warning
from softman.errors import Forbidden, ServiceUnavailable
from softman.settings import Settings
from softman.tasks.client import broker_errors, client_app

AREA = "workers"
VERSION_COMMAND = "softman_version"
"""The remote-control command of our workers that says which version of softman they run."""
ANSWER_SECONDS = 2.0
"""How long is waited for answers: nobody knows how many there should be."""


def check_workers(settings: Settings) -> Iterator[Finding]:
    """Ask every worker for its version."""
    app = client_app(settings)
    try:
        with broker_errors(app):
            answers: list[dict[str, Any]] = (
                app.control.broadcast(VERSION_COMMAND, reply=True, timeout=ANSWER_SECONDS) or []
            )
    except Forbidden:
        yield unknown(AREA, "workers can only be asked with an administrator's user of RabbitMQ, or Flower's")
        return
    except ServiceUnavailable as exc:
        yield unknown(AREA, f"they could not be asked: {exc}", "repair the broker first")
        return
    yield from compared_versions({name: reply for answer in answers for name, reply in answer.items()})


def compared_versions(replies: dict[str, Any]) -> Iterator[Finding]:
    """What the answers of workers mean.

    Args:
        replies: what each worker said, by its name.
    """
    if not replies:
        yield broken(AREA, "no worker answers", "start them: see the page on operations, or softman up")
        return
    ours = version("softman")
    by_version: defaultdict[str, list[str]] = defaultdict(list)
    for name, reply in sorted(replies.items()):
        by_version[str(reply.get("version", "older")) if isinstance(reply, dict) else "older"].append(name)
    for theirs, names in sorted(by_version.items()):
        text = f"{len(names)} workers run softman {theirs}: {', '.join(names)}"
        if theirs == ours:
            yield fine(AREA, text)
        else:
            yield warning(AREA, f"{text}; this is {ours}", "install the same version everywhere and restart them")
