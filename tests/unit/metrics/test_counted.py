"""Counting in several processes, putting dead ones together, and the table of metrics."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from softman.metrics import names
from softman.metrics.counted import Meter, host
from softman.metrics.gathered import gather
from softman.metrics.names import METRICS, Kind, page

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
_CHILD = """
import sys
from pathlib import Path
from softman.metrics import names
from softman.metrics.counted import METER
METER.count(names.SYNC_BYTES, 1)  # before it has a folder: nothing happens
METER.open(Path(sys.argv[1]))
METER.count(names.SYNC_BYTES, 10)
METER.count(names.TASKS, task="softman.resync", outcome="success")
METER.observe(names.TASK_SECONDS, 2.0, task="softman.resync")
if len(sys.argv) > 2:
    print("ready", flush=True)
    sys.stdin.read()
"""


def _child(directory: Path, *more: str) -> list[str]:
    return [sys.executable, "-c", _CHILD, str(directory), *more]


def _text(directory: Path) -> str:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))
    return generate_latest(registry).decode()


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Path]:
    """A folder with what two dead processes counted, and one that lives."""
    for _ in range(2):
        subprocess.run(_child(tmp_path), check=True)
    with subprocess.Popen(_child(tmp_path, "stay"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == b"ready\n"
        yield tmp_path
        child.stdin.close()
        child.wait(timeout=30)


def test_sums_are_the_same_before_and_after_dead_processes_are_put_together(living: Path) -> None:
    before = _text(living)
    assert "softman_sync_bytes_total 30.0" in before
    assert 'softman_task_seconds_bucket{le="5.0",task="softman.resync"} 3.0' in before
    assert len(list(living.glob("*.db"))) == 6
    assert gather(living) == 4
    assert sorted(_text(living).splitlines()) == sorted(before.splitlines())
    assert len(list(living.glob(f"*_{host()}-gone.db"))) == 2
    assert len(list(living.glob("*.db"))) == 4
    assert gather(living) == 0
    subprocess.run(_child(living), check=True)
    assert gather(living) == 2
    assert "softman_sync_bytes_total 40.0" in _text(living)


def test_files_of_another_host_are_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "counter_other-host-1.db"
    foreign.write_bytes(b"")
    assert gather(tmp_path) == 0
    assert foreign.exists()


def test_nothing_is_counted_without_a_folder() -> None:
    meter = Meter()
    meter.count(names.SYNC_BYTES, 1)
    meter.observe(names.TASK_SECONDS, 1.0, task="x")
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_names_follow_the_rules_of_prometheus() -> None:
    assert len({each.name for each in METRICS}) == len(METRICS) > 25
    for each in METRICS:
        assert each.name.startswith("softman_")
        assert each.name.endswith("_total") == (each.kind is Kind.COUNTER)
        assert (each.kind is Kind.HISTOGRAM) == bool(each.buckets)
        assert each.kind is not Kind.HISTOGRAM or each.name.endswith("_seconds")
        assert each.meaning.endswith(".")


def test_the_page_of_metrics_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(), "write it anew: softman exporter --list > docs/metrics.md"
