"""Asking for work by name: the Celery client, the sender of tasks and chains, the publishers' commit door."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import amqp.exceptions
import celery
import kombu.exceptions
from celery import Celery, states
from kombu.utils.uuid import uuid

from softman.adapters.circuit import Circuit
from softman.errors import CandidateRefused, Forbidden, InvalidInput, Outage, ServiceUnavailable
from softman.model import CommitAnswer, CommitRequest
from softman.names import RepositoryName
from softman.settings import Settings
from softman.tasks.application import Application
from softman.tasks.catalogue import COMMIT_REVISION, DEAD, PUBLIC_EXCHANGE, TASKS, TaskSpec
from softman.tasks.config import celery_settings
from softman.tasks.payloads import commit_answer_from_json, commit_request_to_json
from softman.tasks.queues import dead_headers, topic

CONFIRM_SECONDS = 30.0
"""How long the broker may take to confirm a message (it confirms when a majority of nodes has it on disk)."""
_POLL_FIRST, _POLL_LONGEST = 0.005, 0.1
_BROKER_ERRORS = (kombu.exceptions.OperationalError, amqp.exceptions.AMQPError, OSError)


def client_app(settings: Settings | Callable[[], Settings]) -> Celery[Any]:
    """A Celery application that knows names, queues and routes, and no task code.

    Public tasks go through the public exchange, so that a user who may write to nothing else can ask for them; nothing
    is told to Flower, which would need another right.

    Args:
        settings: the settings, or what gives them when Celery first needs them.
    """
    app = Application("softman", set_as_current=False)
    app.add_defaults(lambda: client_settings(settings if isinstance(settings, Settings) else settings()))
    return app


def client_settings(settings: Settings) -> dict[str, Any]:
    """The Celery settings of a client."""
    shared = celery_settings(settings)
    routes = shared["task_routes"] | {
        spec.name: {"exchange": PUBLIC_EXCHANGE, "exchange_type": "topic", "routing_key": spec.name}
        for spec in TASKS
        if spec.public
    }
    return {**shared, "task_routes": routes, "task_send_sent_event": False}


@contextmanager
def broker_errors(app: Celery[Any]) -> Iterator[None]:
    """Raise ``ServiceUnavailable`` for whatever keeps the broker from answering, ``Forbidden`` for a missing right.

    Args:
        app: whose broker it is, for messages.
    """
    try:
        yield
    except amqp.exceptions.AccessRefused as exc:
        msg = f"the message broker refuses: {exc.reply_text}"
        raise Forbidden(msg) from exc
    except _BROKER_ERRORS as exc:
        where = urlsplit(str(app.conf.broker_url)).hostname or "localhost"
        msg = f"the message broker at {where} does not answer: {exc}"
        raise ServiceUnavailable(msg) from exc


class TaskSender:
    """Sends tasks by name; returns when the broker has confirmed each.

    Args:
        app: a Celery application with the settings of ``softman.tasks.config``.
    """

    def __init__(self, app: Celery[Any]) -> None:
        self._app = app

    def send(
        self,
        spec: TaskSpec,
        *args: object,
        countdown: float = 0.0,
        expires: float | None = None,
        keep_result: bool = False,
        queue: str | None = None,
        requested_by: str = "",
        task_id: str | None = None,
    ) -> str:
        """Ask for one task.

        Args:
            spec: which one.
            args: JSON values.
            countdown: seconds to wait, rounded up to whole ones.
            expires: seconds from now after which a worker drops it unseen.
            keep_result: whether somebody will read the result.
            queue: another queue than the catalogue's.
            requested_by: who asked, for the audit log.
            task_id: the id to give it; a new one when None.

        Returns:
            The id of the task.

        Raises:
            ServiceUnavailable: the broker does not confirm it; it may have it nevertheless.
        """
        options: dict[str, Any] = {} if countdown <= 0 else {"countdown": countdown}
        if not keep_result:
            options["ignore_result"] = True
        if queue is not None:
            options["queue"] = queue
        if task_id is not None:
            options["task_id"] = task_id
        if requested_by:
            options["kwargs"] = {"requested_by": requested_by}
        with broker_errors(self._app):
            result = self._app.send_task(
                spec.name, args=args, expires=expires, add_to_parent=False, confirm_timeout=CONFIRM_SECONDS, **options
            )
        return str(result.id)

    def send_chain(self, chain: Sequence[TaskSpec], repository: RepositoryName, *, requested_by: str = "") -> list[str]:
        """Start a chain of tasks for a repository; each link is sent when the one before is done.

        Args:
            chain: its tasks.
            repository: the one.
            requested_by: who asked, for the audit log.

        Returns:
            The ids of the links' tasks, in order.

        Raises:
            ServiceUnavailable: the broker does not confirm the first link.
        """
        ids = [uuid() for _ in chain]
        who = {"requested_by": requested_by} if requested_by else {}
        links = [
            self._app.signature(spec.name, args=(str(repository),), kwargs=who, immutable=True, task_id=task_id)
            for spec, task_id in zip(chain, ids, strict=True)
        ]
        with broker_errors(self._app):
            celery.chain(*links, app=self._app).apply_async(add_to_parent=False)
        return ids


def bury(
    app: Celery[Any], body: bytes | str, *, reason: str, routing_key: str, properties: dict[str, Any] | None = None
) -> None:
    """Put a copy of a message into ``softman.dead`` with the reason in a header, confirmed by the broker.

    Args:
        app: whose connections are used.
        body: the message as it came.
        reason: in words; cut when it is long.
        routing_key: what it came with, or the queue it was in.
        properties: ``content_type``, ``content_encoding`` and ``headers`` to keep.

    Raises:
        ServiceUnavailable: the broker does not confirm it.
    """
    kept = dict(properties or {})
    headers = {**(kept.pop("headers", None) or {}), **dead_headers(reason)}
    raw = body.encode("utf-8", "surrogateescape") if isinstance(body, str) else body
    with broker_errors(app), app.producer_pool.acquire(block=True) as producer:
        producer.publish(
            raw,
            exchange=topic(DEAD),
            routing_key=routing_key,
            headers=headers,
            delivery_mode=2,
            retry=True,
            retry_policy=app.conf.task_publish_retry_policy,
            confirm_timeout=CONFIRM_SECONDS,
            content_type=kept.get("content_type") or "application/octet-stream",
            content_encoding=kept.get("content_encoding") or "binary",
        )


class _NotBegun(Exception):
    """No worker has begun with a commit."""


class CeleryCommitDoor:
    """The publishers' way to stratum 0: the task ``softman.commit`` and its result. Implements ``CommitDoor``.

    The result is asked for again and again instead of subscribed to: a look costs a tenth of a millisecond, and a
    restart of Redis in between does no harm.

    A request that nobody begins is given up soon: the pool is paused, cut off, or has more to do than it can. Then
    ``circuit`` opens, so that publishers do other work instead of waiting, each in a slot of its worker.

    Args:
        app: the application of the calling worker.
        timeout: seconds to wait for an answer. A request that no worker has taken by then is dropped.
        patience: seconds until a worker must have begun; None for ``timeout``.
        circuit: of the pool that commits; None for one of its own.
    """

    def __init__(
        self, app: Celery[Any], timeout: float, *, patience: float | None = None, circuit: Circuit | None = None
    ) -> None:
        self._app = app
        self._timeout = timeout
        self._patience = timeout if patience is None else min(patience, timeout)
        self._circuit = circuit or Circuit("stratum 0's commit pool")

    def commit(self, request: CommitRequest) -> CommitAnswer:
        """Ask and wait.

        Raises:
            ServiceUnavailable: no answer in time, or the task failed; the commit may or may not have happened.
            Outage: nobody began with it, or with an earlier one a moment ago.
            CandidateRefused: stratum 0 will not sign it; the message says why.
        """
        try:
            with self._circuit.guard(_NotBegun, Outage):
                return self._commit(request)
        except _NotBegun as exc:
            raise ServiceUnavailable(str(exc)) from None

    def _commit(self, request: CommitRequest) -> CommitAnswer:
        sender = TaskSender(self._app)
        asked = time.monotonic()
        begun = False
        payload = commit_request_to_json(request)
        task_id = sender.send(COMMIT_REVISION, payload, expires=self._timeout, keep_result=True)
        for meta in self._looks(task_id, asked + self._timeout):
            begun = begun or meta["status"] != states.PENDING
            if not begun and time.monotonic() >= asked + self._patience:
                break
            if meta["status"] == states.SUCCESS:
                try:
                    return commit_answer_from_json(meta["result"])
                except CandidateRefused:
                    raise
                except InvalidInput as exc:
                    msg = f"stratum 0's answer cannot be understood: {exc}"
                    raise ServiceUnavailable(msg) from exc
            if meta["status"] in states.EXCEPTION_STATES and meta["status"] != states.RETRY:
                msg = f"the commit failed: {meta['result']}"
                raise ServiceUnavailable(msg)
        if not begun:
            msg = f"no answer from stratum 0 within {self._patience:g} s: no worker has begun with the commit"
            raise _NotBegun(msg)
        msg = f"no answer from stratum 0 within {self._timeout:g} s"
        raise ServiceUnavailable(msg)

    def _looks(self, task_id: str, deadline: float) -> Iterable[dict[str, Any]]:
        """What the result backend says, with growing pauses, until the deadline."""
        backend: Any = self._app.backend
        pause = _POLL_FIRST
        while time.monotonic() < deadline:
            try:
                yield backend.get_task_meta(task_id, cache=False)
            except backend.connection_errors:
                pause = _POLL_LONGEST
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 1.5, _POLL_LONGEST)
