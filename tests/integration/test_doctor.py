"""The doctor on real servers: ten faults, each named, with a repair; and nothing to say about a sound site."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection, Queue
from pydantic import SecretStr

from softman.cli.backend import ServiceBackend
from softman.cli.main import run
from softman.doctor.examination import examine
from softman.doctor.finding import Finding, Health
from softman.settings import Settings
from softman.standalone.stack import Stack
from softman.tasks.catalogue import CONNECTOR
from softman.tasks.queues import declare_all

pytestmark = pytest.mark.stack
CLOSED = 1
"""A port that nobody listens on."""


@pytest.fixture
def settings(stack: Stack) -> Settings:
    return stack.settings()


def _bad(settings: Settings, *areas: str) -> list[Finding]:
    return [each for each in examine(settings, areas) if each.health in {Health.BROKEN, Health.WARNING}]


def _changed(settings: Settings, **sections: dict[str, Any]) -> Settings:
    updates = {name: getattr(settings, name).model_copy(update=values) for name, values in sections.items()}
    return settings.model_copy(update=updates)


def test_sound_servers_have_no_fault_but_missing_workers(settings: Settings) -> None:
    assert not _bad(settings, "cache", "vault")
    assert {each.health for each in examine(settings, ["buckets"])} <= {Health.FINE, Health.WARNING}
    assert all("nobody works on" in each.what or "dead letters" in each.what for each in _bad(settings, "broker"))


def test_a_broker_that_is_away(settings: Settings) -> None:
    away = SecretStr(f"amqp://softman-admin:x@127.0.0.1:{CLOSED}//")
    (finding,) = _bad(settings.model_copy(update={"broker_url": away}), "broker")
    assert "does not answer" in finding.what
    assert "rabbitmq-diagnostics" in finding.repair


def test_a_wrong_password_of_the_broker(settings: Settings, stack: Stack) -> None:
    url = stack.broker_url("admin")
    wrong = SecretStr(url.replace(url.split(":")[2].partition("@")[0], "wrong"))
    (finding,) = _bad(settings.model_copy(update={"broker_url": wrong}), "broker")
    assert "refuses" in finding.what
    assert "SOFTMAN_BROKER_URL" in finding.repair
    assert "wrong" not in finding.what


@pytest.fixture
def empty_vhost(stack: Stack) -> Iterator[str]:
    """The URL of a virtual host of its own, without queues."""
    name = f"doctor-{secrets.token_hex(4)}"
    stack.rabbitmqctl("add_vhost", name)
    stack.rabbitmqctl("set_permissions", "-p", name, "softman-admin", ".*", ".*", ".*")
    yield stack.broker_url("admin").rstrip("/") + f"/{name}"
    stack.rabbitmqctl("delete_vhost", name)


def test_queues_that_are_missing_or_otherwise_or_without_workers(settings: Settings, empty_vhost: str) -> None:
    there = settings.model_copy(update={"broker_url": SecretStr(empty_vhost)})
    missing = [each.what for each in _bad(there, "broker")]
    assert any("exchanges are missing" in each for each in missing)
    assert "the queue publisher is missing" in missing
    classic = Queue(CONNECTOR, durable=True, queue_arguments={"x-queue-type": "classic"})
    with Connection(empty_vhost) as connection:
        classic(connection).declare()
    found = {each.what.partition(":")[0]: each for each in _bad(there, "broker")}
    assert "delete_queue connector" in found["the queue connector has other arguments than ours"].repair
    with Connection(empty_vhost) as connection:
        classic(connection).delete()
        declare_all(connection)
    texts = [each.what for each in _bad(there, "broker")]
    assert "nobody works on the queue connector, 0 messages wait" in texts
    assert not any("missing" in text or "other arguments" in text for text in texts)


def test_a_cache_that_is_away(settings: Settings) -> None:
    away = SecretStr(f"redis://127.0.0.1:{CLOSED}/0")
    (finding,) = _bad(settings.model_copy(update={"redis_url": away}), "cache")
    assert "redis-cli ping" in finding.repair


def test_a_wrong_password_of_the_cache(settings: Settings) -> None:
    url = settings.redis_url.get_secret_value()
    user, _, rest = url.removeprefix("redis://").partition(":")
    wrong = SecretStr(f"redis://{user}:wrong@{rest.partition('@')[2]}")
    (finding,) = _bad(settings.model_copy(update={"redis_url": wrong}), "cache")
    assert "SOFTMAN_REDIS_URL" in finding.repair


def test_a_vault_that_is_away(settings: Settings) -> None:
    away = _changed(settings, vault={"address": f"http://127.0.0.1:{CLOSED}"})
    (finding,) = _bad(away, "vault")
    assert "SOFTMAN_VAULT__ADDRESS" in finding.repair


def test_a_wrong_secret_id(settings: Settings) -> None:
    wrong = settings.vault.publisher.model_copy(update={"secret_id": SecretStr("wrong-secret")})
    (finding,) = _bad(_changed(settings, vault={"publisher": wrong}), "vault")
    assert "no login to Vault as publisher" in finding.what
    assert "wrong-secret" not in finding.what


def test_wrong_keys_of_the_object_store(settings: Settings) -> None:
    wrong = settings.s3.reader.model_copy(update={"secret_key": SecretStr("wrong")})
    found = _bad(_changed(settings, s3={"reader": wrong}), "buckets")
    assert any("refuses the credential" in each.what and "readers" in each.what for each in found)


def test_readers_with_the_rights_of_a_system_user(settings: Settings) -> None:
    found = _bad(_changed(settings, s3={"reader": settings.s3.connector}), "buckets")
    assert any("is a system user's" in each.what for each in found)


def test_a_topic_that_leads_elsewhere(settings: Settings, unique: str) -> None:
    named = _changed(settings, s3={"topic": f"doctor-{unique}"})
    assert any("does not exist yet" in each.what for each in _bad(named, "buckets"))


def test_the_command_says_all_as_json_and_by_its_exit_code(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "cache", "--json"], ServiceBackend(settings)) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["area"] for line in lines} == {"cache"}
    away = settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{CLOSED}/0")})
    assert run(["doctor", "cache"], ServiceBackend(away)) == 6
    out = capsys.readouterr().out
    assert "broken" in out
    assert "-> is Redis running" in out
