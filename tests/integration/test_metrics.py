"""Metrics of a running site: what workers count, what the exporter observes, what it says when something is away."""

import re
import urllib.request
from pathlib import Path

import pytest
from pydantic import SecretStr

from softman import wiring
from softman.metrics.counted import FOLDER
from softman.metrics.exporter import exporter
from softman.metrics.names import METRICS, Kind
from softman.metrics.observed import Observer
from softman.settings import Settings
from tests.support.site import Site

pytestmark = pytest.mark.stack


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return str(answer.read().decode())


def _value(text: str, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _exported(settings: Settings, site: Site, sample: str, least: float) -> str:
    """What the exporter says once a sample is there and has reached a value."""
    roster = wiring.roster(settings)
    last = ""
    with exporter(settings.state_dir / FOLDER, "127.0.0.1", 0, Observer(settings, roster), roster) as port:

        def reached() -> bool:
            nonlocal last
            last = _scrape(port)
            return f"\n{sample} " in last and _value(last, sample) >= least

        site.wait(reached, f"{sample} is {least}")
    return last


def test_a_file_that_becomes_visible_is_counted(site: Site, unique: str) -> None:
    name = site.provision(unique)
    site.bucket(unique).put("cvmfs/a.txt", b"a")
    site.wait(lambda: site.described(name).revision == 2, "it is published")
    text = _exported(site.settings, site, f'softman_repository_revision{{repository="{name}"}}', 2)
    assert _value(text, 'softman_sync_objects_total{change="added"}') >= 1
    assert _value(text, "softman_put_to_visible_seconds_count") >= 1
    assert _value(text, 'softman_commits_total{outcome="committed"}') >= 2
    assert _value(text, 'softman_events_total{result="folded"}') >= 1
    assert _value(text, 'softman_tasks_total{outcome="success",task="softman.publish_changes"}') >= 1
    assert _value(text, f'softman_repository_whitelist_expiry_timestamp_seconds{{repository="{name}"}}') > 1e9
    for dependency in ("broker", "cache", "vault", "web"):
        assert _value(text, f'softman_dependency_up{{dependency="{dependency}"}}') == 1
    assert _value(text, 'softman_queue_consumers{queue="publisher"}') == 1
    assert _missing(text) == set()


def test_what_is_away_is_said_and_the_rest_still_told(site: Site) -> None:
    away = site.settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    text = _exported(away, site, 'softman_dependency_up{dependency="cache"}', 0)
    assert _value(text, 'softman_queue_consumers{queue="publisher"}') == 1
    assert "softman_pending_keys " not in text


def test_a_host_without_the_service_shows_what_it_counted(tmp_path: Path) -> None:
    with exporter(tmp_path / "metrics", "127.0.0.1", 0) as port:
        assert "softman_build_info" not in _scrape(port)


def _missing(text: str) -> set[str]:
    """Gauges without a line of their own, but for those that need a cause."""
    families = set(re.findall(r"^# TYPE (\S+) gauge$", text, re.MULTILINE))
    return {each.name for each in METRICS if each.kind is Kind.GAUGE} - families
