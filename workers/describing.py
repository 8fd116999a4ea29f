"""Describes the public tasks for other systems: ``python -m workers.describing > docs/tasks.json``.

Made of the signatures that workers check messages against, so it says what they take.
"""

import json
import sys
from typing import Any

import workers.app  # noqa: F401 - imports every pool, and with it every body
from softman.tasks.catalogue import PUBLIC_EXCHANGE, TASKS
from workers.base import BODIES

SCHEMA = 1


def description() -> dict[str, Any]:
    """The public tasks by name: routing, and a JSON Schema of the arguments."""
    return {
        "schema": SCHEMA,
        "exchange": PUBLIC_EXCHANGE,
        "tasks": {
            spec.name: {
                "routing_key": spec.name,
                "description": (BODIES[spec.name].function.__doc__ or "").partition("\n")[0],
                "keeps_result": BODIES[spec.name].keep_result,
                "arguments": {
                    "$schema": "https://json-schema.org/draft/2020-12/schema",
                    "title": spec.name,
                    **BODIES[spec.name].signature.schema(),
                },
            }
            for spec in sorted(TASKS, key=lambda spec: spec.name)
            if spec.public
        },
    }


def main() -> int:
    """Print the description, JSON."""
    sys.stdout.write(json.dumps(description(), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
