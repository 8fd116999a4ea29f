"""Fixtures for all tests: a clean environment, no sockets in unit tests, and the one embedded stack of the session."""

import hashlib
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import NodeManager  # type: ignore[import-untyped]

from softman.standalone.packages import install_command, missing_packages
from softman.standalone.signals import interrupt
from softman.standalone.stack import Options, Stack
from tests.support.inspecting import inspections_here
from tests.support.keys import check_private_keys_once
from tests.support.patience import patient_clients
from tests.support.shaking import SHAKE, loaded, shaken
from tests.support.site import SETTINGS, Site

REQUIRE_STACK = "SOFTMAN_REQUIRE_STACK"
_UNIT = Path(__file__).parent / "unit"
_APART = {"test_hostile.py", "test_repository.py"}
"""Candidates are inspected in a process of its own there, as always with servers."""
_SCRUBBED = ("SOFTMAN_", "AWS_", "VAULT_", "BAO_", "CELERY_", "RABBITMQ_", "CEPH_")
_FOR_THE_TESTS = {REQUIRE_STACK, SHAKE, "SOFTMAN_CHAOS_SEED", "SOFTMAN_GENERATED_EXAMPLES"}
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
check_private_keys_once()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the caller's settings, credentials or proxies; none leaves its own behind."""
    for name in _foreign():
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="module")
def patient_users(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whoever works on a stack tries long enough to see the object gateway back, which crashes now and then."""
    with patient_clients() if _kind(request.node.nodeid) else nullcontext():
        yield


@pytest.fixture(autouse=True, scope="module")
def quick_inspections(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests without servers inspect candidates themselves, but for those that are about the process that does."""
    with nullcontext() if _kind(request.node.nodeid) or request.node.path.name in _APART else inspections_here():
        yield


@pytest.fixture
def impatient_users(patient_users: None) -> Iterator[None]:  # noqa: ARG001 - this comes after it
    """For tests in which nobody shall answer: the object store is asked once."""
    with patient_clients(attempts=1):
        yield


@pytest.fixture(autouse=True)
def own_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line sets logging up for its process, which is that of all tests: it writes to a test's streams."""
    monkeypatch.setattr("softman.log.configure_logging", lambda **_: None)


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


_STACKS = {
    "tests/browser/": "browser",
    "tests/browser/test_upload.py": "site",
    "tests/chaos/": "site",
    "tests/compat/": "stack",
    "tests/compat/test_keys.py": "",
    "tests/compat/test_service.py": "site",
    "tests/contract/": "stack",
    "tests/contract/vault/": "",
    "tests/integration/": "stack",
    "tests/integration/adapters/test_s3_faults.py": "",
    "tests/integration/cvmfs/": "",
    "tests/integration/gateway/": "",
    "tests/integration/standalone/test_lifecycle.py": "own",
    "tests/integration/standalone/test_process.py": "",
    "tests/integration/standalone/test_supervisor.py": "own",
    "tests/integration/dashboard/": "site",
    "tests/integration/storage/test_bucket.py": "own",
    "tests/integration/storage/test_folder.py": "site",
    "tests/integration/test_archives.py": "site",
    "tests/integration/test_clients.py": "site",
    "tests/integration/test_demo.py": "own",
    "tests/integration/test_generated.py": "site",
    "tests/integration/test_keys.py": "site",
    "tests/integration/test_lifecycle.py": "site",
    "tests/integration/test_main_job.py": "site",
    "tests/integration/test_metrics.py": "site",
    "tests/integration/test_notifications.py": "site",
    "tests/integration/test_outages.py": "site",
    "tests/integration/test_owner_quota.py": "site",
    "tests/integration/test_owner_view.py": "site",
    "tests/integration/test_releases.py": "site",
    "tests/integration/test_sharing.py": "site",
    "tests/integration/test_stolen_publisher.py": "site",
    "tests/integration/workers/": "workers",
}
"""Whose stack tests work on: the one with all workers, the one of bare servers, those that they start themselves.

Tests of one kind run one after the other in one process, so that hardly a stack is started twice: ``workers`` and
``stack`` are halves of what works on bare servers.
"""
_UNHEARD = "tests/integration/test_stolen_publisher.py"
"""Needs no events, so it comes first on its site, whose topic sleeps for half a minute."""
_ORDER = ("site", "stack", "workers", "own", "browser", "")
"""What takes minutes comes first; single tests fill what is left of the time."""


def _kind(nodeid: str) -> str:
    """The kind of stack for a test, or an empty text: the longest beginning counts."""
    return _STACKS[max(found)] if (found := [start for start in _STACKS if nodeid.startswith(start)]) else ""


class _Sharing(LoadScopeScheduling):  # type: ignore[misc]
    """Shares tests out among processes: a kind of stack is one portion, every other test one by itself.

    The groups of pytest-xdist itself (``loadgroup``) do nothing with pytest 9.2, see its issue 1386.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _kind(nodeid) or nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Share tests out as above, whatever ``--dist`` says."""
    return _Sharing(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """A run that is ended by SIGTERM takes down what it started, as one that is ended by Ctrl-C does."""
    signal.signal(signal.SIGTERM, interrupt)
    if not hasattr(config, "workerinput"):  # not in every process of pytest-xdist again
        exits = ExitStack()
        exits.enter_context(loaded())
        config.add_cleanup(exits.close)
    NodeManager.EXIT_TIMEOUT = 60  # seconds until processes of pytest-xdist are killed: a stack takes ten to stop


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for the stack is marked so, that ``-m "not stack"`` leaves it out; what takes long comes first."""
    for item in items:
        fixtures = set(item.fixturenames) if isinstance(item, pytest.Function) else set()
        if {"stack", "stack_packages", "site"} & fixtures and not item.path.is_relative_to(_UNIT):
            item.add_marker(pytest.mark.stack)
    items.sort(key=lambda item: (_ORDER.index(_kind(item.nodeid)), not item.nodeid.startswith(_UNHEARD)))


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
def browser_package() -> None:
    """Debian's chromium is installed; otherwise the test is skipped, or fails when it may not be."""
    if "chromium" in missing_packages(browser=True):
        _unavailable(f"the browser tests need a Debian package: {install_command(['chromium'])}")


@pytest.fixture(scope="session")
def stack(stack_packages: None) -> Iterator[Stack]:  # noqa: ARG001 - the packages come first
    """The real servers, started when the first test asks, shared by all, ended by pid after the last one."""
    directory = Path(tempfile.mkdtemp(prefix="softman-test-"))  # not tmp_path: paths of sockets must be short
    with patient_clients():
        started = Stack.start(directory)
    with started, shaken(started):
        yield started


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A name no other test of the session uses, fit for buckets, queues and repositories."""
    return f"t{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"


@pytest.fixture(scope="session")
def site(stack_packages: None) -> Iterator[Site]:  # noqa: ARG001 - the packages come first
    """A stack with all workers, for tests of the main job; apart from ``stack``, whose queues tests work on bare."""
    directory = Path(tempfile.mkdtemp(prefix="softman-site-"))  # not tmp_path: paths of sockets must be short
    options = Options(dashboard=True, settings=SETTINGS)
    with patient_clients():
        started = Stack.start(directory, workers=True, options=options)
    with started:
        site = Site(started)
        with patient_clients():
            site.wake_topic(wait=False)
        with shaken(started):
            yield site
