"""Results of tasks as JSON, bounded. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from softman.model import Turn
from softman.names import RepositoryName
from softman.services.preview import PlannedStep

SCHEMA = 1
MAX_STEPS = 1000
"""Steps of a plan that are named in a result."""
MAX_TEXT = 2000
"""Characters of a key, path or reason in a result."""


def turn_to_json(repository: RepositoryName, turn: Turn, following: str | None) -> dict[str, Any]:
    """What a turn did, in words and numbers.

    Args:
        repository: whose turn it was.
        turn: the turn.
        following: the id of the task that goes on with the part of the bucket that is left.
    """
    return {
        "schema": SCHEMA,
        "repository": str(repository),
        "message": turn_in_words(turn),
        "revision": turn.revision,
        "more": turn.again or turn.held_elsewhere or turn.rest is not None,
        "next": following,
    }


def turn_in_words(turn: Turn) -> str:
    """What a turn did, for people."""
    if turn.held_elsewhere:
        return "another publisher is at work and does it"
    more = "; more follows" if turn.again or turn.rest is not None else ""
    return f"{'nothing to publish' if turn.revision is None else f'revision {turn.revision}'}{more}"


def plan_to_json(repository: RepositoryName, steps: Iterable[PlannedStep], limit: int) -> dict[str, Any]:
    """A plan: how many steps there are of each kind, and the first of them.

    Args:
        repository: whose plan it is.
        steps: all of them; read to the end, in bounded memory.
        limit: how many to name, ``MAX_STEPS`` at most.
    """
    counts: Counter[str] = Counter()
    named: list[dict[str, str]] = []
    for step in steps:
        counts[step.action.value] += 1
        if len(named) < min(limit, MAX_STEPS):
            named.append(
                {
                    "action": step.action.value,
                    "key": _safe(step.key),
                    "path": _safe(step.path),
                    "reason": _safe(step.reason),
                }
            )
    return {
        "schema": SCHEMA,
        "repository": str(repository),
        "counts": dict(counts),
        "steps": named,
        "complete": len(named) == counts.total(),
    }


def _safe(text: str) -> str:
    """Text that JSON and terminals can take: keys need not be valid Unicode."""
    return text[:MAX_TEXT].encode(errors="backslashreplace").decode()
