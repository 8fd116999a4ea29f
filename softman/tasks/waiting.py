"""Messages that wait, for a retry or for their turn: exchanges and queues in the broker, a tree per group of pools.

Celery's native delayed delivery has one tree for all, which leads to every queue. RabbitMQ could restrict its routing
keys per user, but 3.10 does not look at the headers ``CC`` and ``BCC``, which route as well (tried): whoever retries
own tasks could put work into ``stratum0``, too. So each group of pools has a tree of its own that leads to its own
queues only, whatever a message says (docs/adr/0007).

A tree is that of Celery with fewer bits: one exchange and one queue for each bit of the delay, the highest first. A
routing key begins with the bits; a level whose bit is set keeps the message for its power of two of seconds, then dead-
letters it to the next level. Behind the last one the key's last part names the queue.
"""

from dataclasses import dataclass
from functools import cache

from softman.tasks.catalogue import BULK, COMMIT, CONNECTOR, PUBLISHER, STRATUM0

_DIGITS = "01."
WAITING = "softman.wait."
"""Names of exchanges and queues of waiting messages begin so."""


@dataclass(frozen=True, slots=True)
class WaitingRoom:
    """One tree.

    Attributes:
        name: short and unique.
        queues: where it leads to.
        bits: its levels; the longest wait is 2^bits - 1 seconds.
    """

    name: str
    queues: tuple[str, ...]
    bits: int

    @property
    def entrance(self) -> str:
        """The exchange to publish to."""
        return self.level(self.bits - 1)

    @property
    def way_out(self) -> str:
        """The exchange behind the last level, to which the queues are bound."""
        return WAITING + self.name

    def routing_key(self, seconds: int, queue: str) -> str:
        """The key of a message that shall be in ``queue`` after so many seconds, at least 1; longer waits are cut."""
        digits = f"{min(max(seconds, 1), 2**self.bits - 1):0{self.bits}b}"
        return f"{'.'.join(digits)}.{queue}"

    def level(self, number: int) -> str:
        """The name of a level, of its exchange and its queue: messages wait 2^number seconds there."""
        return f"{self.way_out}.{number}"


WAITING_ROOMS = (
    WaitingRoom("stratum0", (STRATUM0,), 6),
    WaitingRoom("commit", (COMMIT,), 4),
    WaitingRoom("connector", (CONNECTOR,), 6),
    WaitingRoom("publisher", (PUBLISHER, BULK), 17),
)
"""Retries wait a minute at most; reconciliation spreads repositories over a period that may be a day."""


@cache
def waiting_room(queue: str) -> WaitingRoom | None:
    """The one that leads to a queue."""
    return next((room for room in WAITING_ROOMS if queue in room.queues), None)


def without_wait(routing_key: str) -> str:
    """A routing key without the digits of a wait."""
    return routing_key.lstrip(_DIGITS)
