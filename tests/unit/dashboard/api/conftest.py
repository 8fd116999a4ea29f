"""The API over a desk in memory, and a client for each kind of person."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient

from softman.dashboard.app import create_app
from softman.dashboard.auth.provider import Provider
from softman.identity import Principal
from softman.model import DeadLetter, Death
from softman.names import Kind, RepositoryName
from softman.settings import load_settings
from tests.support.desk import ADMIN, Office
from tests.support.openid import FakeProvider
from tests.support.world import World, make_material

URL = "https://softman.example.org"
PEOPLE = {
    "owner": Principal("sub-alice", "alice", name="Alice"),
    "member": Principal("sub-bob", "bob", frozenset({"physics"})),
    "manager": Principal("sub-dora", "dora", frozenset({"physics"}), frozenset({"physics"})),
    "stranger": Principal("sub-carol", "carol", frozenset({"chemistry"})),
    "admin": ADMIN,
}
PERSONAL = RepositoryName("alice", "example.org")
GROUP = RepositoryName("physics", "example.org")
LETTER = DeadLetter("aaaa1111", "publisher", "softman.resync", "id", "[]", (Death(1.0, "publisher", "why"),), b"[]")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A site with a personal repository that has content, and one of a group."""
    office = Office(World(tmp_path_factory.mktemp("world"), make_material()))
    name = office.world.provision()
    office.publish(name, {"bin/tool": b"#!/bin/sh\n", "README": b"hello", "data/100%": b"full", "data/ü": b"u"})
    office.world.stratum0.request("dora", "sub-dora", Kind.GROUP, "physics")
    office.look()
    yield office
    office.desk.close()


@pytest.fixture(scope="module")
def app(office: Office, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    directory = tmp_path_factory.mktemp("dashboard")
    limits = {"reads_per_minute": 10**6, "changes_per_minute": 10**6, "logins_per_minute": 10**6}
    own = {"url": URL, "state_dir": directory, "trusted_hosts": ("testserver",), **limits}
    settings = load_settings(dashboard=own, state_dir=directory)
    return create_app(settings, office.desk, Provider(settings.dashboard.provider, FakeProvider().transport))


@pytest.fixture(scope="module")
def people(app: FastAPI) -> Iterator[dict[str, TestClient]]:
    """A client for each, logged in, and ``anonymous``."""
    with ExitStack() as opened:
        yield {name: opened.enter_context(_client(app, who)) for name, who in [*PEOPLE.items(), ("anonymous", None)]}


@pytest.fixture
def alice(people: dict[str, TestClient]) -> TestClient:
    return people["owner"]


@pytest.fixture
def admin(people: dict[str, TestClient]) -> TestClient:
    return people["admin"]


def _client(app: FastAPI, who: Principal | None) -> TestClient:
    client = TestClient(app, base_url=URL, follow_redirects=False, raise_server_exceptions=False)
    if who is not None:
        response = Response()
        session = app.state.sessions.begin(response, who)
        name, _, value = response.headers["set-cookie"].partition(";")[0].partition("=")
        client.cookies.set(name, value)
        client.headers["X-CSRF-Token"] = session.csrf_token
    return client
