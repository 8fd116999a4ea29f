"""Every metric once: its name, kind, labels and meaning. Labels have few values; repositories are bounded."""

from dataclasses import dataclass
from enum import StrEnum

_QUICK = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
_SHORT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_LONG = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0)


class Kind(StrEnum):
    """Prometheus' kinds of metrics that we have."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as in Prometheus; a counter's ends in ``_total``.
        kind: what it is.
        meaning: in words.
        labels: their names.
        buckets: upper bounds of a histogram, seconds.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(f"softman_{name}_total", Kind.COUNTER, meaning, labels)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(f"softman_{name}_seconds", Kind.HISTOGRAM, meaning, labels, buckets)


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(f"softman_{name}", Kind.GAUGE, meaning, labels)


# Counted by workers.
TASKS = _counter("tasks", "Tasks that ended, by outcome: success, failure or retry.", "task", "outcome")
TASK_SECONDS = _histogram("task", "How long tasks took.", _LONG, "task")
FAILURES = _counter("failures", "Tasks that failed or are tried again, by the code of the error.", "task", "code")
TURNS = _counter(
    "turns",
    "Turns of publishers: published, nothing, held_elsewhere (another has the lease), crowded (the owner has enough).",
    "result",
)
SYNC_OBJECTS = _counter("sync_objects", "Objects of buckets: added, changed, removed or refused.", "change")
SYNC_BYTES = _counter("sync_bytes", "Bytes read from buckets.")
SYNC_SECONDS = _histogram("sync", "How long a commit's worth of publishing took.", _LONG)
PUT_TO_VISIBLE = _histogram(
    "put_to_visible", "From the PUT of the first object of a revision until clients could read it.", _QUICK
)
COMMITS = _counter("commits", "Candidates that stratum 0 judged: committed, conflict or refused.", "outcome")
COMMIT_SECONDS = _histogram("commit", "How long stratum 0 took to check and sign a candidate.", _SHORT)
EVENTS = _counter(
    "events", "Notifications: folded, malformed, or foreign (of buckets that are no repository).", "result"
)
EVENT_TASKS = _counter("event_tasks", "Publish tasks that events led to.")

# Observed by the exporter.
BUILD = _gauge("build_info", "Always 1; the version is the label.", "version")
UP = _gauge("dependency_up", "Whether a service answers: 1 or 0.", "dependency")
QUEUE_MESSAGES = _gauge("queue_messages", "Messages that wait in a queue.", "queue")
QUEUE_CONSUMERS = _gauge("queue_consumers", "Workers that consume a queue.", "queue")
QUEUE_WAITING = _gauge("queue_waiting_seconds", "Since when a queue was never seen empty.", "queue")
DEAD_LETTERS = _gauge("dead_letters", "Messages that nobody could work on.")
REPOSITORIES = _gauge("repositories", "Repositories by state.", "state")
PENDING = _gauge("pending_keys", "Keys that changed and are not published yet, of all repositories.")
PENDING_WAITING = _gauge(
    "pending_waiting_seconds", "The longest that a repository was never seen without pending keys."
)
FAILING = _gauge("repositories_failing", "Repositories that cannot be published at present.")
STRANGERS = _gauge("refused_buckets", "Buckets whose events are refused.")
BEAT_AGE = _gauge("beat_age_seconds", "Since the last sign of life of any beat.")
WHITELIST_SOONEST = _gauge("whitelist_soonest_expiry_timestamp_seconds", "When the first of all whitelists expires.")
REVISION = _gauge("repository_revision", "The revision that clients see.", "repository")
LAST_SYNC = _gauge("repository_last_sync_timestamp_seconds", "When a repository was last published.", "repository")
WHITELIST = _gauge("repository_whitelist_expiry_timestamp_seconds", "When its whitelist expires.", "repository")
REFUSED_KEYS = _gauge("repository_refused_keys", "Keys that are not published, at the last sync.", "repository")
OBSERVED_SECONDS = _gauge("exporter_seconds", "How long it took to observe all this.")

METRICS: tuple[Metric, ...] = tuple(value for value in list(vars().values()) if isinstance(value, Metric))
"""All of them."""


def page() -> str:
    """The page ``docs/metrics.md``."""
    rows = [
        f"| `{each.name}` | {each.kind.value} | {', '.join(f'`{label}`' for label in each.labels)} | {each.meaning} |"
        for each in METRICS
    ]
    return _HEAD + "\n".join(rows) + "\n"


_HEAD = """\
# Metrics

<!-- Written by "softman exporter --list"; a test holds that it is what the code says. -->

`softman exporter` serves them at `http://127.0.0.1:9797/metrics` (`SOFTMAN_METRICS__LISTEN_HOST`, `LISTEN_PORT`). Run
one on each host that runs workers, as the user that those run as: workers count into files below their state directory,
and the exporter adds them up. One of them, with the settings of the dashboard's role, also observes the service as a
whole; the others get `--no-service`. The files of workers that ended are put together, so sums never fall.

`compose/prometheus` has a scrape configuration and [alerts](runbook.md), `compose/grafana/dashboards/softman.json` a
dashboard for Grafana.

Age of queues: RabbitMQ tells nobody how old a message is without taking it out, so `softman_queue_waiting_seconds` is
the time since the exporter last saw the queue empty. Per repository there are a few gauges, for the first
`SOFTMAN_METRICS__REPOSITORIES` repositories; sums are over all.

| metric | kind | labels | meaning |
|---|---|---|---|
"""
