"""The main job on real parts: a request becomes a repository, a bucket's files its files, whatever is killed."""

import base64
import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from softman.adapters.s3_connector import S3Connector
from softman.errors import NotFound
from softman.model import Link, LinkState
from softman.names import RepositoryName
from softman.tasks.catalogue import RECONCILE_REPOSITORY, TASK_QUEUES
from softman.tasks.client import TaskSender, client_app
from tests.support.patience import SECONDS
from tests.support.site import Site

WORKERS = ("publisher", "commit", "stratum0", "events", "connector")


def test_a_request_becomes_a_repository_and_files_follow(site: Site) -> None:
    name = site.provision("alice")
    assert site.shown(name) == {}
    bucket = site.bucket("alice")
    bucket.put("bin/tool", b"#!/bin/sh\necho hello\n")
    bucket.put("data/one", b"1")
    site.shows(name, {"/bin/tool": b"#!/bin/sh\necho hello\n", "/data/one": b"1"})
    bucket.put("data/one", b"one")
    bucket.put("data/two", b"2")
    bucket.delete("bin/tool")
    site.shows(name, {"/data/one": b"one", "/data/two": b"2"})

    def reported() -> bool:  # shortly after it became visible
        described = site.described(name)
        last = described.last
        return last is not None and (described.pending, described.revision) == (0, last.revision)

    site.wait(reported, "the last sync is reported")
    assert site.described(name).refusals == ()


def test_asking_twice_gives_the_same_repository(site: Site) -> None:
    name = site.provision("twice")
    with site.reader(name).snapshot() as snapshot:
        before = snapshot.manifest
    assert site.provision("twice") == name
    assert site.reader(name).manifest() == before


@pytest.mark.parametrize("worker", WORKERS)
def test_kill_9_of_a_worker_during_an_upload(site: Site, worker: str) -> None:
    """The end state is the same, nothing is lost, and the worker is back."""
    name = site.provision(f"killed-{worker}")
    bucket = site.bucket(name.bucket)
    files = {f"d{number % 5}/f{number}": b"%d " % number * 100 for number in range(150)}
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(bucket.put, path, content) for path, content in files.items()]
        done[len(done) // 3].result()
        pid = site.kill_worker(worker)
        for future in done:
            future.result()
    site.shows(name, {f"/{path}": content for path, content in files.items()})
    site.wait(lambda: site.worker_pid(worker) not in {None, pid}, f"{worker} runs again")
    site.wait(lambda: site.described(name).pending == 0, "nothing is pending")
    with site.reader(name).snapshot() as snapshot:
        assert snapshot.catalog.counters.own.regular == len(files)


def test_reconciliation_finds_what_nobody_heard_of(site: Site) -> None:
    name = site.provision("unheard")
    connector = S3Connector.from_settings(site.settings.s3)
    connector.remove_notification("unheard")
    bucket = site.bucket("unheard")
    bucket.put("silent", b"no event for this")
    sender = TaskSender(client_app(site.settings))
    sender.send(RECONCILE_REPOSITORY, str(name))
    site.shows(name, {"/silent": b"no event for this"})
    site.wait(bucket.notifies, "the notification is back")
    bucket.put("loud", b"heard")
    site.shows(name, {"/silent": b"no event for this", "/loud": b"heard"})


def record(bucket: str, key: str) -> bytes:
    body = {
        "Records": [
            {
                "eventSource": "ceph:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": bucket}, "object": {"key": key}},
            }
        ]
    }
    return json.dumps(body).encode()


def test_bad_notifications_hurt_nobody(site: Site) -> None:
    name = site.provision("noisy")
    bucket = site.bucket("noisy")
    site.dead_letters()
    site.notify(b"this is not JSON")
    site.notify(b'{"Records": 7}')
    site.notify(record("nobody-has-this", "cvmfs/x"))
    site.notify(record("No_Label", "cvmfs/x"))
    site.notify(record("noisy", "elsewhere/x"))
    site.notify(record("noisy", "cvmfs/../../etc/passwd"))
    bucket.put("good", b"good")
    site.shows(name, {"/good": b"good"})
    site.wait(lambda: [r.key for r in site.described(name).refusals] == ["cvmfs/../../etc/passwd"], "it is refused")
    strangers = {"nobody-has-this", "No_Label"}
    site.wait(
        lambda: all(any(each in told for told in site.status.concerns()) for each in strangers), "they are told of"
    )
    letters: dict[bytes, str] = {}

    def kept() -> bool:
        letters.update(site.dead_letters())
        return letters.keys() >= {b"this is not JSON", b'{"Records": 7}'}

    site.wait(kept, "what is malformed is kept")
    assert all(letters.values())
    with pytest.raises(NotFound):
        site.described(RepositoryName("nobody-has-this", site.settings.domain))


def test_a_bucket_of_somebody_else_is_not_taken(site: Site) -> None:
    bucket = site.bucket("bob", "squatted")
    site.stack.create_s3_user("squatted")
    S3Connector.from_settings(site.settings.s3).ensure_bucket("squatted", "bob")
    bucket.put("secret", b"bob's")
    name = site.ask("squatted")
    site.wait(lambda: LinkState.FAILED in site.link_states(name), "the chain stops")
    links = {progress.link: progress for progress in site.described(name).links}
    assert "bob" in links[Link.CONNECT_BUCKET].detail
    assert links[Link.FIRST_SYNC].state is LinkState.WAITING
    assert not bucket.notifies()
    assert site.shown(name) == {}


@pytest.mark.parametrize("user", ["Not_A_Label", "al", "a.b", "-x-", "x" * 60])
def test_a_name_that_cannot_be_leaves_nothing(site: Site, user: str) -> None:
    before = site.status.repositories()
    result = client_app(site.settings).send_task("softman.provision", args=(user, "subject"))
    with pytest.raises(Exception, match="name"):
        result.get(timeout=SECONDS)
    assert result.state == "FAILURE"
    assert [each.name for each in site.status.repositories()] == [each.name for each in before]


def test_the_celery_command_line_works(site: Site) -> None:
    name = site.provision("admin-view")

    def served() -> set[str]:  # by those that answer within a second
        queues = site.celery("inspect", "active_queues", "--json")
        answers = json.loads(queues.stdout) if queues.returncode == 0 else {}
        return {queue["name"] for worker in answers.values() for queue in worker}

    site.wait(lambda: served() == set(TASK_QUEUES), "all queues are served")
    called = site.celery("call", "softman.resync", f"--args={json.dumps([str(name)])}")
    assert called.returncode == 0, called.stderr
    task_id = called.stdout.strip()
    site.wait(lambda: client_app(site.settings).AsyncResult(task_id).state == "SUCCESS", "the resync ends")


def test_flower_sees_pools_and_tasks(site: Site) -> None:
    flower = site.stack.flower
    assert flower is not None
    site.provision("flower-view")
    credentials = base64.b64encode(f"softman:{flower.password}".encode()).decode()

    def ask(path: str) -> str:
        request = urllib.request.Request(  # noqa: S310 - our own loopback address
            flower.url + path, headers={"Authorization": f"Basic {credentials}"}
        )
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            return str(answer.read().decode())

    site.wait(lambda: all(f"{worker}@" in ask("/workers?json=1") for worker in WORKERS), "Flower knows all workers")
