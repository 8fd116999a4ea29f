"""Somebody between object store and events worker: notifications get lost, come twice, and come in another order.

It is a second consumer of the queue of notifications, so the broker gives it every other message. Of these it drops
some, and publishes the others again, shuffled and perhaps twice.
"""

import random
from collections import Counter
from typing import Any

from kombu import Connection, Consumer

from softman.tasks.catalogue import EVENTS
from softman.tasks.queues import events_queue
from tests.support.chaos.background import Background

_HAND = 20
"""Messages that are shuffled together."""


class Thief(Background):
    """What it has in hand at the end is passed on.

    Args:
        url: the broker.
        seed: of what happens to which message.
        dropped: the share of its messages that it drops.
        doubled: the share of the others that it publishes twice.
    """

    def __init__(self, url: str, seed: int, *, dropped: float = 2 / 3, doubled: float = 1 / 2) -> None:
        super().__init__("thief")
        self._url = url
        self._random = random.Random(seed)
        self._dropped = dropped
        self._doubled = doubled
        self._hand: list[Any] = []
        self.done: Counter[str] = Counter()

    def _run(self) -> None:
        with Connection(self._url) as connection, connection.channel() as channel:
            consumer = Consumer(
                channel,
                queues=[events_queue()],
                accept=["json"],
                on_message=self._hand.append,
                auto_declare=False,
                prefetch_count=2 * _HAND,
            )
            with consumer:
                while not self._stopping.is_set():
                    try:
                        connection.drain_events(timeout=0.3)
                    except TimeoutError:
                        self._pass_on(channel)
                    if len(self._hand) >= _HAND:
                        self._pass_on(channel)
            self._pass_on(channel)

    def _pass_on(self, channel: Any) -> None:
        """Drop some and publish the others, each before the original is acknowledged on the same channel."""
        messages, self._hand[:] = list(self._hand), []
        self._random.shuffle(messages)
        with Connection(self._url).Producer(channel=channel) as producer:
            for message in messages:
                times = 0 if self._random.random() < self._dropped else 1 + (self._random.random() < self._doubled)
                self.done[("dropped", "shuffled", "doubled")[times]] += 1
                for _ in range(times):
                    producer.publish(
                        message.body, exchange=EVENTS, routing_key="softman", content_type="", content_encoding="binary"
                    )
                message.ack()
