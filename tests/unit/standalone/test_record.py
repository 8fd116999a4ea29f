"""What is written down about a stack, and which directories it may use."""

import stat
from pathlib import Path

import pytest

from softman.errors import Corrupt, InvalidInput, NotFound
from softman.standalone.listeners import Dashboard, Flower
from softman.standalone.record import Record, load_record, prepare_directory, socket_directory
from softman.standalone.rgw import S3Keys
from softman.standalone.server import Facts

RECORD = Record(
    marker="m",
    sockets="/x/run",
    domain="example.org",
    front_end="civetweb",
    facts={"redis": Facts({"redis": 1}, {"password": "p"})},
    users={"alice": S3Keys("a", "s")},
    flower=Flower(5, "f"),
    dashboard=Dashboard(6, 7, "s"),
    settings={"RECONCILE_SECONDS": "20"},
    storage="s3",
)


def test_a_record_comes_back_and_is_private(tmp_path: Path) -> None:
    RECORD.save(tmp_path)
    assert load_record(tmp_path) == RECORD
    assert stat.S_IMODE((tmp_path / "env.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["env.json"]


def test_no_record_no_stack(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no stack in"):
        load_record(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', "\x00"])
def test_a_broken_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "env.json").write_text(text)
    with pytest.raises(Corrupt, match=r"env\.json is not a record"):
        load_record(tmp_path)


def test_printing_a_record_shows_no_secret() -> None:
    record = Record(
        "m", "s", "d", "c", {"r": Facts({}, {"k": "hidden"})}, {"u": S3Keys("a", "hidden")}, Flower(1, "hidden")
    )
    assert "hidden" not in repr(record)


def test_a_directory_becomes_private(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b"
    made = prepare_directory(wanted)
    assert made == wanted
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch(mode=0o644)
    before = tmp_path.stat().st_mode
    with pytest.raises(InvalidInput, match="not empty and holds no stack"):
        prepare_directory(tmp_path)
    assert tmp_path.stat().st_mode == before


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(InvalidInput, match="is no directory"):
        prepare_directory(tmp_path / "f")


def test_sockets_of_a_long_path_go_to_a_short_one(tmp_path: Path) -> None:
    long = tmp_path / ("n" * 100)
    long.mkdir()
    sockets = socket_directory(long)
    try:
        assert len(str(sockets / "osd.asok")) < 100
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    finally:
        sockets.rmdir()
