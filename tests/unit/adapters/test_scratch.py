"""Temporary files of processes that were killed are removed by others; those of the living stay."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from softman import wiring
from softman.adapters import scratch
from softman.adapters.scratch import own_directory, sweep
from softman.settings import load_settings


def _work(root: Path, parent: Connection) -> None:
    directory = own_directory(root)
    (directory / "softman-snapshot-x").mkdir()
    (directory / "softman-snapshot-x" / "catalog").write_bytes(b"x")
    parent.send(directory)
    signal.pause()


@contextmanager
def worker(root: Path) -> Iterator[tuple[multiprocessing.process.BaseProcess, Path]]:
    """Another process with files of its own, forked as workers are."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(root, there), daemon=True)
    process.start()
    try:
        yield process, here.recv()
    finally:
        process.kill()
        process.join()


def kill(process: multiprocessing.process.BaseProcess) -> None:
    process.kill()
    process.join()


def test_what_a_killed_process_left_is_removed_and_the_living_keep_theirs(tmp_path: Path) -> None:
    mine = own_directory(tmp_path)
    with worker(tmp_path) as (killed, left), worker(tmp_path) as (_, living):
        assert len({mine, left, living}) == 3
        assert sweep(tmp_path) == 0
        kill(killed)
        assert sweep(tmp_path) == 1
        assert not left.exists()
        assert (living / "softman-snapshot-x" / "catalog").exists()
        assert mine.is_dir()
        assert own_directory(tmp_path) == mine


def test_a_new_process_looks_at_once_and_an_old_one_from_time_to_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with worker(tmp_path) as (killed, left):
        kill(killed)
    own_directory(tmp_path)
    assert not left.exists()
    with worker(tmp_path) as (killed, left):
        kill(killed)
    own_directory(tmp_path)
    assert left.exists()
    monkeypatch.setattr(scratch, "SWEEP_SECONDS", -1.0)
    own_directory(tmp_path)
    assert not left.exists()


def test_a_process_id_that_is_used_again_saves_nobody(tmp_path: Path) -> None:
    own_directory(tmp_path)
    former = tmp_path / f"{os.getpid()}-{'0' * 16}"
    former.mkdir()
    (former / ".lock").touch()
    unborn = tmp_path / f"1-{'1' * 16}"
    unborn.mkdir()
    assert sweep(tmp_path) == 2
    assert not former.exists()
    assert not unborn.exists()


def test_other_things_are_left_alone_and_a_lost_directory_is_made_again(tmp_path: Path) -> None:
    mine = own_directory(tmp_path)
    (tmp_path / "theirs").mkdir()
    assert sweep(tmp_path) == 0
    assert (tmp_path / "theirs").is_dir()
    (mine / ".lock").unlink()
    mine.rmdir()
    assert own_directory(tmp_path).is_dir()
    assert sweep(tmp_path / "nowhere") == 0


def test_where_the_state_may_not_be_written_the_system_has_a_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = load_settings(state_dir=tmp_path / "file")
    assert wiring.scratch(settings) is None
    assert wiring.sweep_scratch(settings) == 0
    settings = load_settings(state_dir=tmp_path / "state")
    assert wiring.sweep_scratch(settings) == 0
    found = wiring.scratch(settings)
    assert found is not None
    assert found.parent == tmp_path / "state" / "scratch"
