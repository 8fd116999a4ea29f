"""Nobody reaches what belongs to others: every route of the description, asked by every kind of person."""

from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from softman.names import RepositoryName
from tests.support.desk import Office
from tests.unit.dashboard.api.conftest import GROUP, LETTER, PERSONAL


class Access(Enum):
    """Who may ask."""

    EVERYBODY = auto()
    """Whoever is logged in; gets own things only."""
    SEEING = auto()
    """Whoever sees the repository."""
    KEEPING = auto()
    """The owner of a personal one, the managers of a group's, administrators."""
    DECIDING = auto()
    """Administrators; those who see the repository are told so."""
    ADMIN = auto()


REQUESTS: dict[str, tuple[Access, dict[str, Any]]] = {
    "GET /me": (Access.EVERYBODY, {}),
    "GET /health": (Access.EVERYBODY, {}),
    "GET /repositories": (Access.EVERYBODY, {}),
    "GET /requestable": (Access.EVERYBODY, {}),
    "POST /repositories": (Access.EVERYBODY, {"json": {}}),
    "GET /repositories/{name}": (Access.SEEING, {}),
    "GET /repositories/{name}/syncs": (Access.SEEING, {}),
    "GET /repositories/{name}/pending": (Access.SEEING, {}),
    "GET /repositories/{name}/refusals": (Access.SEEING, {}),
    "GET /repositories/{name}/revisions": (Access.SEEING, {}),
    "GET /repositories/{name}/diff": (Access.SEEING, {"params": {"old": 1, "new": 2}}),
    "GET /repositories/{name}/tree": (Access.SEEING, {"params": {"path": "/"}}),
    "GET /repositories/{name}/entry": (Access.SEEING, {"params": {"path": "/"}}),
    "GET /repositories/{name}/public-key": (Access.SEEING, {}),
    "POST /repositories/{name}/resync": (Access.SEEING, {"json": {}}),
    "POST /repositories/{name}/rollback": (Access.KEEPING, {"json": {"revision": 1}}),
    "POST /repositories/{name}/resume": (Access.KEEPING, {}),
    "POST /repositories/{name}/retire": (Access.KEEPING, {"json": {}}),
    "POST /repositories/{name}/restore": (Access.KEEPING, {}),
    "PUT /admin/repositories/{name}/quotas": (Access.DECIDING, {"json": {"max_entries": 5}}),
    "GET /admin/overview": (Access.ADMIN, {}),
    "GET /admin/repositories": (Access.ADMIN, {}),
    "GET /admin/queues": (Access.ADMIN, {}),
    "GET /admin/workers": (Access.ADMIN, {}),
    "GET /admin/dead-letters": (Access.ADMIN, {}),
    "POST /admin/dead-letters/{letter}/requeue": (Access.ADMIN, {}),
    "DELETE /admin/dead-letters/{letter}": (Access.ADMIN, {}),
}
SEEN_BY = {PERSONAL: {"owner", "admin"}, GROUP: {"member", "manager", "admin"}}
KEPT_BY = {PERSONAL: {"owner", "admin"}, GROUP: {"manager", "admin"}}


def test_every_route_has_a_row(app: FastAPI) -> None:
    found = {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    }
    assert found == set(REQUESTS)


@pytest.mark.parametrize("name", [PERSONAL, GROUP], ids=str)
@pytest.mark.parametrize("request_line", REQUESTS)
def test_each_person_gets_as_far_as_they_may(
    office: Office, people: dict[str, TestClient], request_line: str, name: RepositoryName
) -> None:
    access, more = REQUESTS[request_line]
    method, path = request_line.split()
    url = "/api/v1" + path.format(name=name, letter=LETTER.id)
    office.letters.letters[:] = [LETTER]
    before = list(office.wishes.sent)
    for person in ("anonymous", "stranger", "owner", "member", "manager", "admin"):
        response = people[person].request(method, url, **more)
        refused = _refusal(access, person, name)
        if refused is None:
            assert response.status_code not in {401, 403, 405, 422, 429, 500}, (person, response.text)
        else:
            assert response.status_code == refused, (person, response.text)
            assert response.headers["content-type"] == "application/problem+json"
            assert office.letters.letters == [LETTER]
            assert refused is HTTPStatus.FORBIDDEN or not _speaks_of(response.text, name), (person, response.text)
        if refused is not None or method == "GET":
            assert office.wishes.sent == before
        before = list(office.wishes.sent)


def _refusal(access: Access, person: str, name: RepositoryName) -> HTTPStatus | None:
    if person == "anonymous":
        return HTTPStatus.UNAUTHORIZED
    if access is Access.EVERYBODY or (person == "admin" and access in {Access.ADMIN, Access.DECIDING}):
        return None
    if access is Access.ADMIN:
        return HTTPStatus.FORBIDDEN
    if person not in SEEN_BY[name]:
        return HTTPStatus.NOT_FOUND
    able = {Access.SEEING: SEEN_BY[name], Access.KEEPING: KEPT_BY[name], Access.DECIDING: set[str]()}[access]
    return None if person in able else HTTPStatus.FORBIDDEN


def _speaks_of(text: str, name: RepositoryName) -> bool:
    """Whether an answer tells more of a repository than whoever asked said in the first place."""
    return any(word in text for word in ("README", "sub-alice", "sub-dora", f"{name} is "))


def test_lists_hold_own_repositories_only(people: dict[str, TestClient]) -> None:
    own = {
        person: [each["name"] for each in people[person].get("/api/v1/repositories").json()["items"]]
        for person in ("owner", "member", "manager", "stranger", "admin")
    }
    assert own == {
        "owner": [str(PERSONAL)],
        "member": [str(GROUP)],
        "manager": [str(GROUP)],
        "stranger": [],
        "admin": [],
    }


def test_what_is_not_there_and_what_may_not_be_seen_look_the_same(people: dict[str, TestClient]) -> None:
    answers = []
    for label in ("alice", "nobody"):
        document = people["stranger"].get(f"/api/v1/repositories/{label}.example.org").json()
        document.pop("request_id")
        answers.append(str(document).replace(label, "<label>"))
    assert answers[0] == answers[1]


def test_idempotency_keys_are_each_persons_own(people: dict[str, TestClient], office: Office) -> None:
    before = len(office.wishes.sent)
    for person in ("owner", "member"):
        response = people[person].post("/api/v1/repositories", json={}, headers={"Idempotency-Key": "shared"})
        assert response.status_code == HTTPStatus.ACCEPTED
        assert "Idempotency-Replayed" not in response.headers
    assert len(office.wishes.sent) == before + 2
