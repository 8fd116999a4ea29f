"""What processes count while they work. Any number of processes of a host write to one folder, the exporter reads it.

Each process has files of its own there (``prometheus_client``'s multiprocess mode), so counting takes no lock and no
network, and a process that is killed loses nothing. What dead processes left is put together by ``gathered``.
"""

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

from softman.metrics.names import Kind, Metric

FOLDER = "metrics"
"""Below the state directory."""
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""How ``prometheus_client`` is told the folder."""


class Meter:
    """Counts, or does nothing until it is given a folder."""

    def __init__(self) -> None:
        self._directory: Path | None = None

    def open(self, directory: Path) -> None:
        """Count into files in ``directory``, which is made when it is not there. Before the process forks."""
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        os.environ[_VARIABLE] = str(directory)  # noqa: TID251 - for prometheus_client, which reads it
        from prometheus_client import values  # noqa: PLC0415 - chooses at import how to count

        # Not the process id alone: containers that share the folder all have a process 1.
        values.ValueClass = values.MultiProcessValue(process_identifier=identity)
        self._directory = directory

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        if self._directory is not None and amount:
            _labelled(metric, labels).inc(amount)

    def observe(self, metric: Metric, seconds: float, **labels: str) -> None:
        """Note one more duration in a histogram."""
        if self._directory is not None:
            _labelled(metric, labels).observe(max(0.0, seconds))


METER = Meter()
"""That of this process."""


def identity() -> str:
    """The name of this process in files: host and process id."""
    return f"{host()}-{os.getpid()}"


@cache
def host() -> str:
    """This host's name as it may stand in the name of a file."""
    return "".join(char if char.isalnum() else "-" for char in platform.node()) or "host"


def _labelled(metric: Metric, labels: dict[str, str]) -> Any:
    made = _made(metric)
    return made.labels(**labels) if metric.labels else made


@cache
def _made(metric: Metric) -> Any:
    from prometheus_client import CollectorRegistry, Counter, Histogram  # noqa: PLC0415 - see above

    registry = CollectorRegistry()  # in this mode only names of files count
    if metric.kind is Kind.COUNTER:
        return Counter(metric.name, metric.meaning, metric.labels, registry=registry)
    return Histogram(metric.name, metric.meaning, metric.labels, registry=registry, buckets=metric.buckets)
