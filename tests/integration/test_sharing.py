"""Repositories that several publishers come upon, and publishers that several users share, on real parts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import redis

from softman import wiring
from softman.adapters.redis_client import key_name
from softman.adapters.s3_connector import S3Connector
from softman.standalone import processes
from softman.standalone.process import base_environment
from softman.tasks.catalogue import PUBLISH_CHANGES
from softman.tasks.client import TaskSender, client_app
from tests.support.patience import SECONDS
from tests.support.site import Site

ROOT = Path(__file__).resolve().parents[2]
PROBE = Path(__file__).with_name("probes") / "paused_publisher.py"
LEASE_SECONDS = "2"


def _stopped(process: "subprocess.Popen[str]") -> bool:
    assert process.poll() is None
    return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


def test_a_holder_paused_beyond_its_lease_cannot_spoil_the_repository(site: Site) -> None:
    """It seals a revision, sleeps until its lease is another's who publishes, and then asks for its commit."""
    name = site.provision("sleeper")
    bucket = site.bucket("sleeper")
    bucket.put("first", b"1")
    site.shows(name, {"/first": b"1"})
    S3Connector.from_settings(site.settings.s3).remove_notification("sleeper")  # only we say what is pending
    pending = wiring.pending(site.settings)
    bucket.put("a", b"a")
    pending.add(name, frozenset({"cvmfs/a"}))
    environment = {**base_environment(), **site.stack.environment(), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(PROBE), str(name)],
        env={**environment, "SOFTMAN_SYNC__LEASE_SECONDS": LEASE_SECONDS},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process, redis.Redis.from_url(site.settings.redis_url.get_secret_value()) as server:
        try:
            site.wait(lambda: _stopped(process), "it has sealed its revision")
            assert site.shown(name) == {"/first": b"1"}
            site.wait(lambda: not server.exists(key_name(name, "lease")), "its lease is over")
            bucket.put("b", b"b")
            pending.add(name, frozenset({"cvmfs/b"}))
            TaskSender(client_app(site.settings)).send(PUBLISH_CHANGES, str(name))
            site.shows(name, {"/first": b"1", "/a": b"a", "/b": b"b"})  # what it had taken as well
            revision = site.reader(name).manifest().revision
            os.kill(process.pid, signal.SIGCONT)
            outcome, _ = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
        assert outcome.splitlines()[-1] in {"Conflict", "Busy"}
        assert site.reader(name).manifest().revision == revision
        assert site.shown(name) == {"/first": b"1", "/a": b"a", "/b": b"b"}
        site.wait(lambda: pending.count(name) == 0, "nothing is pending")
        site.wait(lambda: not server.exists(key_name(name, "lease")), "nobody holds the lease")


def test_full_syncs_never_delay_a_file_of_another_user(site: Site) -> None:
    name = site.provision("interactive")
    with site.paused("bulk"):
        site.bucket("interactive").put("file", b"at once")
        site.shows(name, {"/file": b"at once"})


def test_after_a_flush_what_users_wait_for_comes_first(site: Site) -> None:
    """Everything has to be compared with every bucket then, but files that are written meanwhile need not wait."""
    name = site.provision("flushed")
    with site.paused("bulk"):
        with redis.Redis.from_url(site.settings.redis_url.get_secret_value()) as server:
            server.flushall()
        site.bucket("flushed").put("file", b"at once")
        site.shows(name, {"/file": b"at once"})
        assert not wiring.pending(site.settings).is_whole(name)
    site.wait(lambda: wiring.pending(site.settings).is_whole(name), "everything was compared in the end")


def test_what_a_killed_publisher_leaves_in_its_scratch_directory_is_removed(site: Site) -> None:
    name = site.provision("untidy")
    site.bucket("untidy").put("a", b"a")
    site.shows(name, {"/a": b"a"})
    main = site.worker_pid("publisher")
    assert main is not None
    children = {child.pid for child in psutil.Process(main).children(recursive=True)}
    scratch = site.settings.state_dir / "scratch"
    mine = [path for path in scratch.iterdir() if path.name.partition("-")[0] in map(str, children)]
    assert mine
    (mine[0] / "softman-transaction-of-then").mkdir()
    site.kill_worker("publisher")
    site.wait(lambda: site.worker_pid("publisher") not in {None, main}, "the publisher runs again")
    site.wait(lambda: not any(path.exists() for path in mine), "its files are gone")
    assert list(processes.scratch_directory(site.stack).glob("softman-*")) == []
