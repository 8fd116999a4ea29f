"""Fixtures for all tests: a clean environment, no sockets in unit tests, and the one embedded stack of the session."""

import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import pytest

from softman.standalone.packages import install_command, missing_packages
from softman.standalone.stack import Stack
from tests.support.site import Site

REQUIRE_STACK = "SOFTMAN_REQUIRE_STACK"
_UNIT = Path(__file__).parent / "unit"
_SCRUBBED = ("SOFTMAN_", "AWS_", "VAULT_", "BAO_", "CELERY_", "RABBITMQ_", "CEPH_")
_FOR_THE_TESTS = {REQUIRE_STACK, "SOFTMAN_CHAOS_SEED"}
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_STACK_REQUIRED = os.environ.get(REQUIRE_STACK) == "1"


def _foreign() -> list[str]:
    return [
        name for name in os.environ if (name.startswith(_SCRUBBED) or name in _PROXIES) and name not in _FOR_THE_TESTS
    ]


def _scrub() -> None:
    for name in _foreign():
        del os.environ[name]


hypothesis.settings.register_profile("softman", derandomize=True, deadline=None)  # the same examples on any machine
hypothesis.settings.load_profile("softman")
_scrub()  # before any test module is imported: some libraries read the environment at import


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the caller's settings, credentials or proxies; none leaves its own behind."""
    for name in _foreign():
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_sockets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit tests open no socket to anybody; pairs within the process are fine."""
    if not request.node.path.is_relative_to(_UNIT):
        return

    def refuse(_self: socket.socket, address: Any, *_rest: Any) -> NoReturn:
        msg = f"a unit test opens a socket to {address!r}"
        raise AssertionError(msg)

    for method in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, method, refuse)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark who asks for the stack, that ``-m "not stack"`` leaves it out, and share the tests out among processes.

    Tests of one group run one after the other in one process (``--dist loadgroup``), so that each kind of stack is
    started once. The groups, which take minutes, come first, and single tests fill what is left of the time.
    """
    for item in items:
        group = _group(item)
        if group is not None:
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: _GROUPS.index(_group(item)))


_GROUPS = ("site", "stack", "own", None)


def _group(item: pytest.Item) -> str | None:
    """Which stack a test works on: the one with all workers, the one of bare servers, or one of its own."""
    fixtures = set(item.fixturenames) if isinstance(item, pytest.Function) else set()
    if item.path.is_relative_to(_UNIT):  # whose fixtures may have the same names
        return None
    if "site" in fixtures:
        return "site"
    if "stack" in fixtures:
        return "stack"
    if "stack_packages" in fixtures:
        return "own"
    return None if item.get_closest_marker("stack") is None else "stack"


def _unavailable(reason: str) -> NoReturn:
    if _STACK_REQUIRED:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def stack_packages() -> None:
    """The Debian packages of the stack are installed; otherwise the test is skipped, or fails when it may not be."""
    missing = missing_packages()
    if missing:
        _unavailable(f"the embedded stack needs Debian packages: {install_command(missing)}")


@pytest.fixture(scope="session")
def stack(stack_packages: None) -> Iterator[Stack]:  # noqa: ARG001 - the packages come first
    """The real servers, started when the first test asks, shared by all, ended by pid after the last one."""
    directory = Path(tempfile.mkdtemp(prefix="softman-test-"))  # not tmp_path: paths of sockets must be short
    with Stack.start(directory) as running:
        yield running


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A name no other test of the session uses, fit for buckets, queues and repositories."""
    return f"t{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"


@pytest.fixture(scope="session")
def site(stack_packages: None) -> Iterator[Site]:  # noqa: ARG001 - the packages come first
    """A stack with all workers, for tests of the main job; apart from ``stack``, whose queues tests work on bare."""
    directory = Path(tempfile.mkdtemp(prefix="softman-site-"))  # not tmp_path: paths of sockets must be short
    with Stack.start(directory, workers=True) as running:
        site = Site(running)
        site.wake_topic()
        yield site
