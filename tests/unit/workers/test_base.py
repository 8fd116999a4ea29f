"""The task decorator: what a body's outcome turns into. Run by Celery's own tracer, eagerly, without a broker."""

import json
import pickle
from typing import Any

import pytest
import structlog
from celery.exceptions import Reject, Retry, SoftTimeLimitExceeded

from softman import wiring
from softman.adapters.memory import MemoryRecords
from softman.errors import InvalidInput, NotFound, Outage, ServiceUnavailable
from softman.model import Link, LinkProgress, LinkState
from softman.names import RepositoryName
from softman.tasks.catalogue import BULK, PUBLISHER, STRATUM0, TaskSpec
from workers import base
from workers.base import OUTAGE_DELAY, delay_before, task
from workers.pool import WorkerApp

NAME = RepositoryName("alice", "example.org")
SPEC = TaskSpec("unit.probe", STRATUM0)


@pytest.fixture(autouse=True)
def only_our_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "BODIES", {})
    monkeypatch.setattr("workers.pool.BODIES", base.BODIES)


def _run(*args: Any, **kwargs: Any) -> Any:
    """Run the one task there is, as a worker's tracer would."""
    return WorkerApp(STRATUM0).tasks[SPEC.name].apply(args, kwargs)


def test_the_function_stays_a_function() -> None:
    @task(SPEC)
    def body(text: str) -> str:
        """Shout."""
        return text.upper()

    assert body("a") == "A"
    assert _run("b").get() == "B"


def test_misspelt_options_fail() -> None:
    with pytest.raises(TypeError, match="ignore_results"):
        task(SPEC, ignore_results=True)  # type: ignore[call-arg]


def test_two_bodies_for_one_task_fail() -> None:
    task(SPEC)(lambda: None)
    with pytest.raises(TypeError, match="has a body already"):
        task(SPEC)(lambda: None)


def test_a_permanent_error_fails_with_our_class_and_text() -> None:
    @task(SPEC)
    def body(text: str) -> None:
        """Fail."""
        msg = f"{text} is not there"
        raise NotFound(msg)

    result = _run("x")
    assert result.state == "FAILURE"
    with pytest.raises(NotFound, match="x is not there"):
        result.get()
    stored = WorkerApp(STRATUM0).backend.prepare_exception(result.result, "json")
    assert json.loads(json.dumps(stored)) == {
        "exc_type": "NotFound",
        "exc_message": ["x is not there"],
        "exc_module": "softman.errors",
    }
    assert str(pickle.loads(pickle.dumps(result.result))) == "x is not there"  # noqa: S301 - our own, just made


def test_wrong_arguments_fail_as_invalid_input() -> None:
    task(SPEC)(_needs_text)
    with pytest.raises(InvalidInput, match="missing a required argument"):
        _run().get()


def _needs_text(text: str) -> None:
    raise AssertionError(text)


@pytest.mark.parametrize("error", [ServiceUnavailable("no answer"), SoftTimeLimitExceeded()])
def test_a_transient_error_is_retried_and_then_given_up(error: Exception) -> None:
    runs = []

    @task(SPEC, retries=3)
    def body() -> None:
        """Fail again and again."""
        runs.append(1)
        raise error

    result = _run()
    assert len(runs) == 4
    assert result.state == "FAILURE"
    assert isinstance(result.result, ServiceUnavailable)


def test_what_passes_at_the_second_attempt_succeeds() -> None:
    runs = []

    @task(SPEC)
    def body() -> int:
        """Fail once."""
        runs.append(1)
        if len(runs) == 1:
            msg = "not yet"
            raise ServiceUnavailable(msg)
        return len(runs)

    assert _run().get() == 2


def test_a_retry_that_cannot_be_published_goes_back_to_the_broker() -> None:
    @task(SPEC)
    def body() -> None:
        """Fail."""
        msg = "no answer"
        raise ServiceUnavailable(msg)

    class Request:
        retries = 0
        delivery_info: dict[str, Any] | None = None

    class Task:
        request = Request()

        def retry(self, **_options: Any) -> None:
            msg = "broker away"
            raise Reject(msg, requeue=False)

    with pytest.raises(Reject) as caught:
        base.run(Task(), base.BODIES[SPEC.name], (), {})
    assert vars(caught.value)["requeue"] is True


@pytest.mark.parametrize(
    ("routing_key", "queue"),
    [
        (None, PUBLISHER),
        (PUBLISHER, PUBLISHER),
        (BULK, BULK),
        ("0." * 27 + "1." + BULK, BULK),
        ("softman.publish_changes", PUBLISHER),
    ],
)
def test_a_retry_stays_on_the_queue_its_message_came_from(routing_key: str | None, queue: str) -> None:
    class Request:
        delivery_info = {"routing_key": routing_key}  # noqa: RUF012 - read only

    assert base._queue_of(Request(), TaskSpec("softman.publish_changes", PUBLISHER)) == queue


def test_an_outage_is_waited_for_without_counting() -> None:
    class Request:
        retries = 1
        delivery_info: dict[str, Any] | None = None

    class Task:
        request = Request()

        def retry(self, countdown: int, **_options: Any) -> Retry:
            assert 1 <= countdown <= OUTAGE_DELAY
            assert self.request.retries == 0  # to which Celery adds one
            return Retry()

    @task(SPEC, retries=1)
    def body() -> None:
        """Fail."""
        msg = "the vault does not answer"
        raise Outage(msg)

    with pytest.raises(Retry):
        base.run(Task(), base.BODIES[SPEC.name], (), {})


def test_delays_grow_are_whole_and_bounded() -> None:
    for attempt in range(2000):
        delay = delay_before(attempt, 60.0)
        assert isinstance(delay, int)
        assert 1 <= delay <= 60
        assert delay <= max(1, 2**attempt)
    assert {delay_before(10, 60.0) for _ in range(200)} > {40, 50}
    assert delay_before(0, 0.1) == 1


def _states(records: MemoryRecords) -> list[tuple[LinkState, str]]:
    return [(link.state, link.detail) for link in records.links(NAME)]


@pytest.fixture
def history(records: MemoryRecords, monkeypatch: pytest.MonkeyPatch) -> list[LinkState]:
    """Every state that was recorded, in order."""
    seen: list[LinkState] = []
    keep = records.set_link

    def set_link(repository: RepositoryName, progress: LinkProgress) -> None:
        seen.append(progress.state)
        keep(repository, progress)

    monkeypatch.setattr(records, "set_link", set_link)
    return seen


def test_a_link_tells_how_it_stands(records: MemoryRecords, history: list[LinkState]) -> None:
    @task(SPEC, link=Link.PUBLISH_KEYS)
    def body(repository: RepositoryName) -> str:
        """Fail once."""
        if len(history) == 1:
            msg = "the vault is sealed"
            raise ServiceUnavailable(msg)
        return f"keys of {repository}"

    _run(str(NAME)).get()
    assert history == [LinkState.RUNNING, LinkState.RETRYING, LinkState.RUNNING, LinkState.DONE]
    assert _states(records) == [(LinkState.DONE, "keys of alice.example.org")]


def test_a_failed_link_says_why(records: MemoryRecords) -> None:
    @task(SPEC, link=Link.CONNECT_BUCKET)
    def body(repository: RepositoryName) -> str:
        """Fail."""
        msg = f"the bucket {repository.bucket} belongs to bob"
        raise NotFound(msg)

    assert _run(str(NAME)).state == "FAILURE"
    assert _states(records) == [(LinkState.FAILED, "the bucket alice belongs to bob")]


def test_a_link_that_goes_on_elsewhere_is_not_done(records: MemoryRecords) -> None:
    @task(SPEC, link=Link.FIRST_SYNC)
    def body(repository: RepositoryName) -> str | None:
        """Leave the rest to others."""
        del repository
        return None

    _run(str(NAME)).get()
    assert _states(records) == [(LinkState.RUNNING, "")]


def test_a_link_works_without_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def set_link(self, *_: Any) -> None:
            msg = "Redis does not answer"
            raise ServiceUnavailable(msg)

    monkeypatch.setattr(wiring, "records", lambda _settings: Away())

    @task(SPEC, link=Link.PUBLISH_KEYS)
    def body(repository: RepositoryName) -> str:
        """Work."""
        return str(repository)

    assert _run(str(NAME)).get() == str(NAME)


def test_the_log_context_is_bound_for_the_task_and_cleared_after() -> None:
    seen: dict[str, Any] = {}

    @task(SPEC)
    def body(repository: RepositoryName) -> None:
        """Look."""
        del repository
        seen.update(structlog.contextvars.get_contextvars())

    result = _run(str(NAME))
    assert seen == {"task_id": result.id, "task": SPEC.name, "repository": str(NAME)}
    assert structlog.contextvars.get_contextvars() == {}
