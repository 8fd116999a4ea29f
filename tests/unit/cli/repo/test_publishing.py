"""Publishing from the command line, and looking at it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.unit.cli.repo.conftest import NAME, Admin

pytestmark = pytest.mark.slow


@pytest.fixture
def source(tmp_path: Path) -> Path:
    top = tmp_path / "source"
    (top / "bin").mkdir(parents=True)
    (top / "bin" / "tool").write_bytes(b"#!/bin/sh\n")
    (top / "bin" / "link").symlink_to("tool")
    (top / "text").write_bytes(b"some text\n" * 1000)
    return top


def test_publish_tells_what_it_did(made: Admin, source: Path) -> None:
    (told,) = made.write("publish", source, "--json").objects
    assert (told["name"], told["revision"], told["published"]) == (NAME, 2, True)
    report = told["report"]
    assert (report["files"], report["directories"], report["links"], report["objects"]) == (2, 2, 1, 2)
    (again,) = made.write("publish", source, "--json").objects
    assert (again["revision"], again["published"], again["report"]["unchanged"]) == (2, False, 2)


def test_publish_tells_people_in_words(made: Admin, source: Path) -> None:
    shown = made.write("publish", source)
    assert shown.code == 0
    facts = dict(line.split("  ", 1) for line in shown.lines)
    assert {"files", "size", "new objects", "deduplicated", "speed", "revision"} <= {key.strip() for key in facts}
    assert "MB/s" in shown.out.decode()
    assert shown.err == ""  # no progress bar where nobody looks


def test_what_was_published_can_be_read(made: Admin, source: Path, tmp_path: Path) -> None:
    made.write("publish", source, "--to", "opt/tools")
    assert made.read("ls", "-R", "/opt").lines == [
        "/opt/tools",
        "/opt/tools/bin",
        "/opt/tools/bin/link",
        "/opt/tools/bin/tool",
        "/opt/tools/text",
    ]
    assert made.read("cat", "/opt/tools/bin/tool").out == b"#!/bin/sh\n"
    (fact,) = made.read("stat", "/opt/tools/text", "--json").objects
    assert (fact["type"], fact["size"], fact["uid"], fact["links"], fact["chunks"]) == ("file", 10_000, 0, 1, [])
    assert "type" in made.read("stat", "/opt/tools/bin/link").out.decode()
    assert made.read("get", "/opt/tools", tmp_path / "copy").code == 0
    assert subprocess.run(["diff", "-r", source, tmp_path / "copy"], check=False).returncode == 0
    assert [json.loads(line)["revision"] for line in made.read("log", "--json").out.splitlines()] == [2, 1]


def test_an_archive_is_published_too(made: Admin, source: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-C", source, "-czf", tmp_path / "a.tar.gz", "."], check=True)
    assert made.write("publish", tmp_path / "a.tar.gz").code == 0
    assert made.read("cat", "/text").out == (source / "text").read_bytes()


def test_delete_makes_the_repository_like_the_source(made: Admin, source: Path) -> None:
    made.write("publish", source)
    (source / "text").unlink()
    (told,) = made.write("publish", source, "--delete", "--json").objects
    assert told["report"]["removed"] == 1
    assert made.read("ls").lines == ["bin"]


def test_what_cannot_be_published_is_named(made: Admin, source: Path) -> None:
    os.mkfifo(source / "pipe\x1b[31m")
    ended = made.write("publish", source)
    assert ended.code == 0
    assert "left out: pipe" in ended.err
    assert "\x1b" not in ended.err
    (told,) = made.write("publish", source, "--json").objects
    assert [refusal["path"] for refusal in told["report"]["refused"]] == ["pipe\x1b[31m"]


def test_strict_publishes_all_or_nothing(made: Admin, source: Path) -> None:
    os.mkfifo(source / "pipe")
    ended = made.write("publish", source, "--strict")
    assert ended.code == 11
    assert made.read("ls").lines == []


def test_options_of_storing(made: Admin, source: Path) -> None:
    (source / "large").write_bytes(bytes(3 * 1024 * 1024))
    assert made.write("publish", source, "--compression", "none", "--chunks", "1", "--workers", "1").code == 0
    (fact,) = made.read("stat", "/large", "--json").objects
    assert (len(fact["chunks"]), fact["compression"]) == (3, "none")
    assert made.write("publish", source, "--chunks", "0").code == 2
    assert made.write("publish", source, "--level", "99").code == 2


def test_catalogs_are_split_where_a_publish_is_told_to(made: Admin, source: Path) -> None:
    for number in range(8):
        (source / "bin" / f"tool{number}").write_bytes(b"%d" % number)
    (source / ".cvmfsdirtab").write_bytes(b"/le*\n")
    (source / "left").mkdir()
    (source / "left" / "file").write_bytes(b"left")
    made.write("publish", source, "--balance", "--max-entries", "8", "--min-entries", "3")
    paths = made.read("ls", "-R").lines
    assert {path for path in paths if "/.cvmfs" in path[1:]} == {
        "/bin/.cvmfsautocatalog",
        "/bin/.cvmfscatalog",
        "/left/.cvmfscatalog",
    }
    assert made.read("check", "--content").code == 0
    (again,) = made.write("publish", source, "--delete", "--json").objects
    assert (again["published"], again["report"]["removed"]) == (False, 0)
    assert made.write("publish", source, "--balance", "--max-entries", "5").code == 2


def test_without_its_key_nothing_is_published(made: Admin, source: Path) -> None:
    (made.keys / f"{NAME}.key").unlink()
    ended = made.write("publish", source)
    assert ended.code == 14
    assert f"{NAME}.key" in ended.err


def test_the_master_key_is_not_needed_to_publish(made: Admin, source: Path) -> None:
    (made.keys / f"{NAME}.masterkey").unlink()
    assert made.write("publish", source).code == 0


def test_a_repository_that_is_not_there(admin: Admin, made: Admin, source: Path, tmp_path: Path) -> None:
    ended = admin.softman(
        *("repo", "publish", NAME, str(source), "--storage", (tmp_path / "no").as_uri(), "--keys", str(made.keys))
    )
    assert ended.code == 41


def test_a_damaged_archive(made: Admin, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no archive" * 100)
    ended = made.write("publish", tmp_path / "bad.tar")
    assert ended.code == 49
    assert "nothing was published" in ended.err


def test_what_is_read_is_verified(made: Admin, source: Path, tmp_path: Path) -> None:
    made.write("publish", source)
    other = Admin(made.softman, tmp_path / "other")
    other.root.mkdir()
    other.write("create")
    for command, *arguments in (["ls"], ["stat", "/text"], ["cat", "/text"], ["log"]):
        options = ("--url", made.repository.as_uri(), "--public-key", str(other.keys / f"{NAME}.pub"))
        assert made.softman("repo", command, NAME, *arguments, *options).code == 34
