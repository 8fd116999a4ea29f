"""The description of public tasks for other systems is in step with what workers check."""

from pathlib import Path
from typing import Any

import pytest

from softman.errors import InvalidInput
from softman.tasks.catalogue import PUBLIC_TASKS
from workers.base import BODIES
from workers.describing import description, main

DOCS = Path(__file__).parents[3] / "docs"
VALUES: dict[str, Any] = {"string": "alice.example.org", "boolean": True, "integer": 3, "object": {"max_bytes": 1}}


def test_the_committed_description_is_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Make it anew with: python -m workers.describing > docs/tasks.json."""
    assert main() == 0
    assert capsys.readouterr().out == (DOCS / "tasks.json").read_text(encoding="utf-8")


def test_every_public_task_is_described_and_in_the_table() -> None:
    page = (DOCS / "integration.md").read_text(encoding="utf-8")
    found = description()["tasks"]
    assert set(found) == set(PUBLIC_TASKS)
    for name, task in found.items():
        arguments = ", ".join(f"`{argument}`" for argument in task["arguments"]["properties"])
        assert f"| `{name}` | {arguments}".replace("`kind`", "`kind` (`personal`, `group`)") in page, name
        assert task["description"]


@pytest.mark.parametrize("name", sorted(PUBLIC_TASKS))
def test_what_the_schema_allows_is_taken_and_what_it_forbids_is_not(name: str) -> None:
    schema, signature = description()["tasks"][name]["arguments"], BODIES[name].signature
    properties = schema["properties"]
    good = {
        each: said["enum"][0] if "enum" in said else VALUES[said["type"] if isinstance(said["type"], str) else "string"]
        for each, said in properties.items()
    }
    assert set(signature.bind((), good)) == set(properties)
    signature.bind((), {each: good[each] for each in schema["required"]})
    for each in properties:
        with pytest.raises(InvalidInput):
            signature.bind((), good | {each: ["neither"]})
    for each in schema["required"]:
        with pytest.raises(InvalidInput):
            signature.bind((), {other: good[other] for other in good if other != each})
