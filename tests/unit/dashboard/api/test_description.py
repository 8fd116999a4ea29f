"""The OpenAPI description: committed as it is, and true of every answer that schemathesis can provoke."""

import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings

from tests.support.desk import Office
from tests.unit.dashboard.api.conftest import LETTER, PERSONAL
from tests.unit.dashboard.api.test_tenants import REQUESTS

COMMITTED = Path(__file__).parents[4] / "docs" / "openapi.json"
EXAMPLES = 6


def test_the_committed_description_is_in_step(app: FastAPI) -> None:
    """Make it anew with: softman openapi > docs/openapi.json."""
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == app.openapi()


def test_everything_is_described(app: FastAPI) -> None:
    document = app.openapi()
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    for each in operations:
        assert each["tags"]
        assert each["description"]
        assert {"401", "422", "429"} <= set(each["responses"])
    assert document["security"] == [{"token": []}, {"session": []}]


@pytest.fixture(scope="module")
def schema(app: FastAPI) -> Any:
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)


@pytest.mark.parametrize("request_line", REQUESTS)
def test_every_answer_is_as_described(
    request_line: str, schema: Any, people: dict[str, TestClient], office: Office
) -> None:
    method, path = request_line.split()
    admin = people["admin"]
    more = {"headers": {"X-CSRF-Token": admin.headers["X-CSRF-Token"]}, "cookies": dict(admin.cookies)}

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    @given(case=schema[f"/api/v1{path}"][method].as_strategy())
    def ask(case: Any) -> None:
        office.letters.letters[:] = [LETTER]
        if "name" in case.path_parameters:
            case.path_parameters["name"] = str(PERSONAL)
        case.call_and_validate(**more)

    ask()
