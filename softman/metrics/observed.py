"""What the exporter observes of the whole service whenever Prometheus asks: queues, repositories, what answers."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Final

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from softman import wiring
from softman.cvmfs.errors import CvmfsError
from softman.errors import SoftmanError
from softman.metrics import names
from softman.metrics.names import Metric
from softman.model import State
from softman.names import RepositoryName
from softman.services.roster import Known, Roster
from softman.settings import Settings
from softman.tasks.catalogue import DEAD, EVENTS, TASK_QUEUES
from softman.tasks.client import broker_errors, client_app

WHITELIST_SECONDS: Final = 900.0
"""How long a whitelist's date is kept; it changes once in weeks."""
WHITELISTS_EACH: Final = 20
"""Whitelists that are read each time."""


class Observer(Collector):
    """Observes a service. Nothing that is away keeps it from saying the rest.

    Args:
        settings: with the dashboard's role in the vault.
        roster: the repositories, read in the background.
        clock: Unix time.
    """

    def __init__(self, settings: Settings, roster: Roster, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._roster = roster
        self._clock = clock
        self._busy_since: dict[str, float] = {}
        self._pending_since: dict[RepositoryName, float] = {}
        self._whitelists: dict[RepositoryName, tuple[float, float | None]] = {}
        self._app = client_app(settings)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing beforehand: registering must not ask anybody."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Everything, now."""
        began = time.monotonic()
        yield _family(names.BUILD, {(version("softman"),): 1})
        up: dict[tuple[str, ...], float] = {}
        yield from self._observed(up, "broker", self._queues)
        yield from self._observed(up, "cache", self._from_cache)
        up["vault",] = not self._roster.problem
        yield from self._repositories(up)
        yield _family(names.UP, up)
        yield _family(names.OBSERVED_SECONDS, {(): time.monotonic() - began})

    def _observed(
        self, up: dict[tuple[str, ...], float], what: str, observe: Callable[[], list[GaugeMetricFamily]]
    ) -> list[GaugeMetricFamily]:
        try:
            found = observe()
        except SoftmanError:
            up[what,] = 0
            return []
        up[what,] = 1
        return found

    def _queues(self) -> list[GaugeMetricFamily]:
        messages, consumers, waiting = {}, {}, {}
        dead = 0
        with broker_errors(self._app), self._app.connection_for_read(connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0)
            channel: Any = connection.default_channel
            for queue in (*TASK_QUEUES, EVENTS, DEAD):
                found = channel.queue_declare(queue, passive=True)
                if queue == DEAD:
                    dead = found.message_count
                    continue
                messages[queue,] = found.message_count
                consumers[queue,] = found.consumer_count
                waiting[queue,] = self._since(self._busy_since, queue, busy=found.message_count > 0)
        return [
            _family(names.QUEUE_MESSAGES, messages),
            _family(names.QUEUE_CONSUMERS, consumers),
            _family(names.QUEUE_WAITING, waiting),
            _family(names.DEAD_LETTERS, {(): dead}),
        ]

    def _from_cache(self) -> list[GaugeMetricFamily]:
        pending = wiring.pending(self._settings)
        states = wiring.turn_states(self._settings)
        known = self._known()
        counts = {each.record.repository: pending.count(each.record.repository) for each in known}
        waits = [self._since(self._pending_since, name, busy=count > 0) for name, count in counts.items()]
        ages = wiring.clockwork(self._settings).beats().values()
        return [
            _family(names.PENDING, {(): sum(counts.values())}),
            _family(names.PENDING_WAITING, {(): max(waits, default=0)}),
            _family(names.FAILING, {(): sum(states.failure(name) is not None for name in counts)}),
            _family(names.STRANGERS, {(): len(states.strangers())}),
            *([_family(names.BEAT_AGE, {(): min(ages)})] if ages else []),
            *self._syncs(known[: self._settings.metrics.repositories]),
        ]

    def _syncs(self, known: list[Known]) -> Iterator[GaugeMetricFamily]:
        records = wiring.records(self._settings)
        reports = {each.record.repository: records.last_report(each.record.repository) for each in known}
        made = {(str(name),): report for name, report in reports.items() if report is not None}
        yield _family(names.LAST_SYNC, {label: report.finished_at for label, report in made.items()})
        yield _family(names.REFUSED_KEYS, {label: report.refusals for label, report in made.items()})

    def _repositories(self, up: dict[tuple[str, ...], float]) -> Iterator[GaugeMetricFamily]:
        known = self._known()
        states = Counter(each.record.state.value for each in known)
        yield _family(names.REPOSITORIES, {(state.value,): states[state.value] for state in State})
        served = [each for each in known if each.record.state in {State.ACTIVE, State.LOCKED}]
        expiries = self._expiries([each.record.repository for each in served])
        if expiries:
            yield _family(names.WHITELIST_SOONEST, {(): min(expiries.values())})
        shown = served[: self._settings.metrics.repositories]
        revisions = {(str(each.record.repository),): each.revision for each in shown if each.revision is not None}
        yield _family(names.REVISION, revisions)
        few = {(str(each.record.repository),): expiries.get(each.record.repository) for each in shown}
        yield _family(names.WHITELIST, {label: expiry for label, expiry in few.items() if expiry is not None})
        if served:
            up["web",] = any(each.revision is not None for each in served)

    def _expiries(self, served: list[RepositoryName]) -> dict[RepositoryName, float]:
        """When whitelists expire; some are read anew each time."""
        now = self._clock()
        kept = {name: found for name in served if (found := self._whitelists.get(name))}
        old = [name for name in served if name not in kept or now - kept[name][0] > WHITELIST_SECONDS]
        for name in old[:WHITELISTS_EACH]:
            expires = kept[name][1] if name in kept else None
            with suppress(SoftmanError, CvmfsError):
                expires = wiring.reader(self._settings, name).whitelist().expires.timestamp()
            kept[name] = (now, expires)
        self._whitelists = kept
        return {name: expires for name, (_, expires) in kept.items() if expires is not None}

    def _known(self) -> list[Known]:
        return self._roster.after(None, len(self._roster))

    def _since(self, began: dict[Any, float], what: object, *, busy: bool) -> float:
        """For how long something was never seen idle."""
        if not busy:
            began.pop(what, None)
            return 0.0
        return self._clock() - began.setdefault(what, self._clock())


def _family(metric: Metric, values: dict[Any, Any]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(list(labels), float(value))
    return family
