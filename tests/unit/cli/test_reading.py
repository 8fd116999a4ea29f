"""Reading a repository of the stock tools from the command line, and what happens when it is not in order."""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

KEY = Path(__file__).parents[2] / "data" / "cvmfs" / "basic" / "keys" / "basic.example.org.pub"
HOSTILE = Path(__file__).parents[2] / "data" / "cvmfs" / "hostile"
Softman = Callable[..., Any]


def _entries(truth: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["path"]: entry for entry in truth["steps"][-1]["entries"] if "path" in entry}


def _children(truth: dict[str, Any], directory: str) -> list[str]:
    paths = (path for path in _entries(truth) if path != "/" and os.path.dirname(path) == directory)  # noqa: PTH120
    return sorted((path.rsplit("/", 1)[1] for path in paths), key=os.fsencode)


def test_ls_lists_the_root_in_the_order_of_bytes(softman: Softman, truth: dict[str, Any]) -> None:
    listed = softman("ls", "basic")
    assert listed.code == 0
    assert [line for line in listed.lines if "\\" not in line] == [
        name for name in _children(truth, "/") if "\\" not in name and "\n" not in name
    ]


def test_ls_json_has_every_entry_of_the_tree_with_its_facts(softman: Softman, truth: dict[str, Any]) -> None:
    listed = softman("ls", "-R", "--json", "basic.example.org")
    assert listed.code == 0
    expected = {path: entry for path, entry in _entries(truth).items() if path != "/"}
    found = {entry["path"]: entry for entry in listed.objects}
    assert found.keys() == expected.keys()
    for path, entry in found.items():
        wanted = expected[path]
        assert entry["mode"] == int(wanted["mode"], 8), path
        assert entry["mtime"] == int(wanted["mtime"]), path
        if wanted["type"] == "file":
            assert (entry["type"], entry["size"]) == ("file", wanted["size"]), path


def test_ls_long_shows_mode_size_and_target(softman: Softman) -> None:
    (line,) = softman("ls", "-l", "basic", "/.cvmfsdirtab").lines
    assert line.startswith("-rw-r--r--           37 2026-")
    assert line.endswith(" .cvmfsdirtab")


def test_ls_takes_paths_as_people_write_them(softman: Softman) -> None:
    assert softman("ls", "basic", "nested/").lines == softman("ls", "basic", "/nested").lines
    assert softman("ls", "basic", "//./nested").lines == softman("ls", "basic", "/nested").lines


@pytest.mark.parametrize("command", [["ls"], ["cat"], ["get"]])
def test_a_path_that_is_not_there(command: list[str], softman: Softman, tmp_path: Path) -> None:
    arguments = [*command, "basic", "/no/such\x1b[31m"] + ([str(tmp_path / "x")] if command == ["get"] else [])
    ended = softman(*arguments)
    assert (ended.code, ended.out) == (43, b"")
    assert ended.err.count("\n") == 1
    assert "\x1b" not in ended.err
    assert list(tmp_path.iterdir()) == []


def test_cat_writes_the_bytes_of_every_file(softman: Softman, truth: dict[str, Any]) -> None:
    """The largest, the smallest, and all chunked ones."""
    files = [entry for entry in _entries(truth).values() if entry["type"] == "file" and "sha256" in entry]
    files.sort(key=lambda entry: entry["size"])
    for entry in [files[0], files[-1], *(e for e in files if "chunked" in e["catalog"]["flag_names"])]:
        shown = softman("cat", "basic", entry["path"])
        assert shown.code == 0
        assert hashlib.sha256(shown.out).hexdigest() == entry["sha256"], entry["path"]


def test_cat_of_a_directory_is_an_error(softman: Softman) -> None:
    assert softman("cat", "basic", "/nested").code == 43


def test_get_copies_the_whole_repository(softman: Softman, truth: dict[str, Any], tmp_path: Path) -> None:
    done = softman("get", "--json", "basic", "/", tmp_path / "copy")
    assert done.code == 0
    (report,) = done.objects
    skipped = {path for path, _reason in report["copied"]["skipped"]}
    for path, entry in _entries(truth).items():
        local = tmp_path / "copy" / path[1:]
        if path in skipped:
            assert not os.path.lexists(local)
            continue
        found = local.lstat()
        if entry["type"] == "file":
            assert stat.S_IMODE(found.st_mode) == int(entry["mode"], 8) & 0o777, path
            local.chmod(0o600)  # some may not be read by anybody but root
            assert hashlib.sha256(local.read_bytes()).hexdigest() == entry["sha256"], path
            assert found.st_mtime_ns // 10**9 == int(entry["mtime"]), path
        elif entry["type"] == "dir":
            assert stat.S_ISDIR(found.st_mode), path
            assert found.st_mtime_ns // 10**9 == int(entry["mtime"]), path
    assert report["revision"] == 21
    assert report["copied"]["files"] == sum(entry["type"] == "file" for entry in _entries(truth).values())


def test_get_into_a_directory_keeps_the_name(softman: Softman, tmp_path: Path) -> None:
    assert softman("get", "basic", "/.cvmfsdirtab", tmp_path).code == 0
    assert [path.name for path in tmp_path.iterdir()] == [".cvmfsdirtab"]


def test_get_overwrites_nothing(softman: Softman, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    place.write_text("mine")
    ended = softman("get", "basic", "/.cvmfsdirtab", place)
    assert ended.code == 4
    assert "exists already" in ended.err
    assert place.read_text() == "mine"


def test_log_follows_the_chain_of_revisions(softman: Softman, truth: dict[str, Any]) -> None:
    shown = softman("log", "--json", "-n", "100", "basic")
    assert shown.code == 0
    roots = {step["revision"]: step["manifest"]["C"] for step in truth["steps"]}
    found = {line["revision"]: line["root_hash"] for line in shown.objects}
    assert {number: found[number] for number in roots} == roots
    assert [line["revision"] for line in shown.objects] == sorted(found, reverse=True)
    newest = shown.objects[0]
    assert newest["published_at"] == 1795340208
    assert newest["entries"] == len(_entries(truth))


def test_log_shows_as_many_as_asked_for(softman: Softman) -> None:
    lines = softman("log", "-n", "3", "basic").lines
    assert [line.split("\t")[0] for line in lines] == ["21", "20", "19"]


def test_another_source_is_read_with_its_key(softman: Softman, repositories: Path) -> None:
    url = (repositories / "basic.example.org").as_uri()
    foreign = softman("ls", "--url", url, "--public-key", KEY, "basic.example.org")
    assert foreign.code == 0
    assert foreign.out == softman("ls", "basic").out


@pytest.mark.parametrize(
    "options",
    [["--url", "http://127.0.0.1:9/x"], ["--public-key", str(KEY)], ["--url", "ftp://x/", "--public-key", str(KEY)]],
)
def test_half_a_source_is_refused(options: list[str], softman: Softman) -> None:
    ended = softman("ls", *options, "basic.example.org")
    assert ended.code in {12, 31}
    assert ended.out == b""


def test_an_unknown_repository(softman: Softman) -> None:
    assert softman("ls", "nobody").code == 14


def test_a_name_that_cannot_be(softman: Softman) -> None:
    assert softman("ls", "No_Body").code == 12


def test_an_expired_whitelist_stops_everything(softman: Softman, backend: Any) -> None:
    backend.clock += timedelta(days=31)
    for command in (["ls", "basic"], ["cat", "basic", "/.cvmfsdirtab"], ["log", "basic"]):
        ended = softman(*command)
        assert (ended.code, ended.out) == (35, b"")


@pytest.mark.parametrize(
    ("variant", "code"),
    [
        ("manifest-foreign-key", 34),
        ("whitelist-foreign-master", 34),
        ("manifest-wrong-name", 37),
        ("manifest-empty", 31),
    ],
)
def test_a_hostile_source_shows_nothing(
    variant: str, code: int, softman: Softman, repositories: Path, tmp_path: Path
) -> None:
    source = tmp_path / "hostile"
    shutil.copytree(repositories / "basic.example.org", source)
    shutil.copytree(HOSTILE / variant, source, dirs_exist_ok=True)
    ended = softman("ls", "--url", source.as_uri(), "--public-key", KEY, "basic.example.org")
    assert (ended.code, ended.out) == (code, b"")


def test_a_download_that_fails_half_way_leaves_nothing(softman: Softman, repositories: Path, tmp_path: Path) -> None:
    source, place = tmp_path / "hostile", tmp_path / "place"
    shutil.copytree(repositories / "basic.example.org", source)
    shutil.copytree(HOSTILE / "object-bitflip", source, dirs_exist_ok=True)
    place.mkdir()
    ended = softman("get", "--url", source.as_uri(), "--public-key", KEY, "basic.example.org", "/", place / "copy")
    assert ended.code == 33
    assert list(place.iterdir()) == []


def test_json_is_valid_for_every_name(softman: Softman) -> None:
    for line in softman("ls", "-R", "--json", "basic").out.splitlines():
        assert line.isascii()
        json.loads(line)
