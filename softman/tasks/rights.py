"""Who may do what at the broker: RabbitMQ's users, one for each role, and their permissions.

From the catalogue of tasks: a role reads its own queues, writes to the exchanges of the tasks it asks for, and declares
nothing but the queue of its remote control. RabbitMQ asks for the right to configure when something is declared or
deleted, to write when something is published to an exchange or a queue is bound, to read when a queue is consumed or
something is bound to an exchange. Topic permissions restrict routing keys, too, so that the key of a message tells the
truth about what its sender may do; the headers ``CC`` and ``BCC`` get around them (RabbitMQ 3.10), so no exchange that
two roles write to leads to more than one of them may ask for.

``definitions`` is what ``rabbitmqctl import_definitions`` takes. Shipped as ``compose/rabbitmq/definitions.json``.
"""

import base64
import hashlib
import itertools
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from softman.tasks.catalogue import (
    ATTACH_PUBLISHER,
    BULK,
    CHAINS,
    COMMIT,
    COMMIT_REVISION,
    CONNECT_BUCKET,
    CONNECTOR,
    CREATE_REPOSITORY,
    DEAD,
    DISCONNECT_BUCKET,
    DRAIN,
    DROP_RETIRED,
    EVENTS,
    FIRST_SYNC,
    PUBLIC_EXCHANGE,
    PUBLIC_TASKS,
    PUBLISH_CHANGES,
    PUBLISHER,
    RECONCILE,
    RECONCILE_REPOSITORY,
    REPORT_DEAD_LETTERS,
    RESIGN,
    RESUME_PROVISIONING,
    RESUME_RETIREMENT,
    RESYNC,
    SET_QUOTAS,
    STRATUM0,
    SWEEP_STAGING,
    TASK_QUEUES,
    UPKEEP,
    TaskSpec,
)
from softman.tasks.queues import CONTROL, REPLIES, TASK_EVENTS
from softman.tasks.waiting import WAITING_ROOMS

_MAILBOX = rf"[^@]+@.+\.{re.escape(CONTROL)}"
"""A worker's queue for remote control: its node name first. Exclusive, so nobody else can read or delete it."""
_ANSWERS = rf"[0-9a-f-]+\.{re.escape(REPLIES)}"
_LISTENER = rf"{TASK_EVENTS}\.[0-9a-f-]+"
_GATEWAY_REPLIES = r"amq\.gen.*"
_GATEWAY_TOPICS = "softman(-[a-z0-9-]+)?"
_NOTHING = "^$"
_EVERYTHING = ".*"
USER_PREFIX = "softman-"


@dataclass(frozen=True, slots=True)
class Worker:
    """What one kind of worker does with messages.

    Attributes:
        queues: those it consumes.
        asks: the tasks it asks for, beside the next link of a chain whose links run on its queues.
        tasks: whether its queues hold tasks, which are retried and are part of chains.
    """

    queues: tuple[str, ...]
    asks: tuple[TaskSpec, ...] = ()
    tasks: bool = True


WORKERS: Mapping[str, Worker] = {
    "stratum0": Worker((STRATUM0,), (CREATE_REPOSITORY, RESYNC)),
    "commit": Worker((COMMIT,)),
    "connector": Worker((CONNECTOR,)),
    "publisher": Worker(
        (PUBLISHER, BULK),
        (
            ATTACH_PUBLISHER, COMMIT_REVISION, CONNECT_BUCKET, DISCONNECT_BUCKET, FIRST_SYNC, PUBLISH_CHANGES,
            RECONCILE_REPOSITORY, RESYNC,
        ),
    ),
    "events": Worker((EVENTS,), (PUBLISH_CHANGES,), tasks=False),
}  # fmt: skip
BEAT_TASKS = (
    RECONCILE, DRAIN, RESUME_PROVISIONING, RESUME_RETIREMENT, DROP_RETIRED, RESIGN, SWEEP_STAGING, REPORT_DEAD_LETTERS,
    UPKEEP,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rights:
    """The permissions of one user: regular expressions of RabbitMQ, and routing keys by topic exchange."""

    configure: str = _NOTHING
    write: str = _NOTHING
    read: str = _NOTHING
    topics: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


def _one_of(*names: str, patterns: Iterable[str] = ()) -> str:
    """A regular expression that matches exactly these names and patterns."""
    return f"^({'|'.join([*map(re.escape, sorted(set(names))), *patterns])})$"


def asked_queues(role: str) -> set[str]:
    """The queues of the tasks that a worker asks for: its own list, and what follows its links in a chain."""
    worker = WORKERS[role]
    following = {
        after.queue
        for chain in CHAINS
        for link, after in itertools.pairwise(chain)
        if worker.tasks and link.queue in worker.queues
    }
    return {spec.queue for spec in worker.asks} | following


def _worker(role: str) -> Rights:
    worker = WORKERS[role]
    public = [name for name, queue in PUBLIC_TASKS.items() if queue in worker.queues]
    topics = {queue: _one_of(queue) for queue in sorted(asked_queues(role))}
    topics[DEAD] = _one_of(*worker.queues, *public)
    topics |= {
        room.entrance: rf"^([01]\.){{{room.bits}}}({'|'.join(map(re.escape, room.queues))})$"
        for room in WAITING_ROOMS
        if worker.tasks and set(room.queues) <= set(worker.queues)
    }
    return Rights(
        configure=_one_of(patterns=[_MAILBOX]),
        write=_one_of(*topics, REPLIES, TASK_EVENTS, patterns=[_MAILBOX]),
        read=_one_of(*worker.queues, CONTROL, patterns=[_MAILBOX]),
        topics=topics,
    )


def _beat() -> Rights:
    topics = {queue: _one_of(queue) for queue in sorted({spec.queue for spec in BEAT_TASKS})}
    return Rights(write=_one_of(*topics, TASK_EVENTS), topics=topics)


def _flower() -> Rights:
    own = (_ANSWERS, _LISTENER)
    return Rights(
        configure=_one_of(patterns=own),
        write=_one_of(CONTROL, patterns=own),
        read=_one_of(REPLIES, TASK_EVENTS, patterns=own),
    )


def _operations() -> Rights:
    """What Flower may, and to take dead letters and put them back to where they came from."""
    watching = _flower()
    topics = {queue: _one_of(queue) for queue in (*TASK_QUEUES, EVENTS)} | {PUBLIC_EXCHANGE: _one_of(*PUBLIC_TASKS)}
    return Rights(
        configure=watching.configure,
        write=_one_of(CONTROL, *topics, patterns=(_ANSWERS, _LISTENER)),
        read=_one_of(REPLIES, TASK_EVENTS, DEAD, patterns=(_ANSWERS, _LISTENER)),
        topics=topics,
    )


_DECIDED_BY_ADMINISTRATORS = (SET_QUOTAS,)
"""Public tasks that only softman's own dashboard may ask for, since it knows who is an administrator."""


def _asks_publicly(*names: str) -> Rights:
    return Rights(write=_one_of(PUBLIC_EXCHANGE), topics={PUBLIC_EXCHANGE: _one_of(*names)})


RIGHTS: Mapping[str, Rights] = {
    "admin": Rights(_EVERYTHING, _EVERYTHING, _EVERYTHING, tags=("administrator",)),
    "dashboard": _asks_publicly(*PUBLIC_TASKS),
    "client": _asks_publicly(*(PUBLIC_TASKS.keys() - {spec.name for spec in _DECIDED_BY_ADMINISTRATORS})),
    **{role: _worker(role) for role in WORKERS},
    "beat": _beat(),
    "flower": _flower(),
    "operations": _operations(),
    # RGW looks whether its exchange is there, publishes, and waits for confirms on a reply queue.
    "rgw": Rights(
        configure=_one_of(patterns=[_GATEWAY_REPLIES]),
        write=_one_of(EVENTS, patterns=[_GATEWAY_REPLIES]),
        read=_one_of(patterns=[_GATEWAY_REPLIES]),
        topics={EVENTS: _one_of(patterns=[_GATEWAY_TOPICS])},
    ),
}
"""The rights of every role. ``client`` is any other system that asks for public tasks; ``operations`` is what the
dashboard does for administrators."""


def user_name(role: str) -> str:
    """The name of a role's user, at RabbitMQ and at Redis."""
    return USER_PREFIX + role


def password_hash(password: str, salt: bytes | None = None) -> str:
    """RabbitMQ's ``rabbit_password_hashing_sha256``: base64 of a 4-byte salt and SHA-256 of salt and password.

    Args:
        password: the password.
        salt: random when None.
    """
    salt = secrets.token_bytes(4) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def definitions(passwords: Mapping[str, str], *, vhost: str = "/") -> dict[str, Any]:
    """Users and permissions as RabbitMQ imports them.

    Args:
        passwords: by role. A user without one cannot log in until an administrator gives one
            (``rabbitmqctl change_password``).
        vhost: the virtual host that is softman's own.
    """
    users, permissions, topics = [], [], []
    for role, rights in RIGHTS.items():
        name = user_name(role)
        users.append(
            {
                "name": name,
                "password_hash": password_hash(passwords[role]) if role in passwords else "",
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": list(rights.tags),
            }
        )
        allowed = {"configure": rights.configure, "write": rights.write, "read": rights.read}
        permissions.append({"user": name, "vhost": vhost, **allowed})
        topics += [
            {"user": name, "vhost": vhost, "exchange": exchange, "write": keys, "read": _NOTHING}
            for exchange, keys in rights.topics.items()
        ]
    return {"vhosts": [{"name": vhost}], "users": users, "permissions": permissions, "topic_permissions": topics}
