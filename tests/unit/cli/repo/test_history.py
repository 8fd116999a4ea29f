"""Tags, roll-backs and garbage collection from the command line."""

from pathlib import Path

import pytest

from tests.unit.cli.repo.conftest import Admin

pytestmark = pytest.mark.slow


@pytest.fixture
def twice(made: Admin, tmp_path: Path) -> Admin:
    """Published twice: revision 2 has one, tagged, and revision 3 has two."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"one")
    assert made.write("publish", source, "--tag", "v1", "--message", "the first").code == 0
    (source / "file").write_bytes(b"number two")
    assert made.write("publish", source).code == 0
    return made


def test_tags_are_listed(twice: Admin) -> None:
    listed = twice.write("tag", "--json").objects
    assert [(one["tag"], one["revision"]) for one in listed] == [("trunk", 3), ("trunk-previous", 2), ("v1", 2)]
    assert listed[2]["description"] == "the first"
    assert twice.write("tag").lines[-1].startswith("v1\t2\t")


def test_the_past_can_be_read(twice: Admin, tmp_path: Path) -> None:
    assert twice.read("cat", "/file").out == b"number two"
    assert twice.read("cat", "/file", "--tag", "v1").out == b"one"
    assert twice.read("cat", "/file", "--revision", "2").out == b"one"
    assert twice.read("ls", "--revision", "1").lines == []
    assert twice.read("stat", "/file", "--tag", "v1", "--json").objects[0]["size"] == 3
    assert twice.read("get", "/file", tmp_path / "old", "--tag", "v1").code == 0
    assert (tmp_path / "old").read_bytes() == b"one"
    assert twice.read("cat", "/file", "--tag", "v9").code == 47
    assert twice.read("cat", "/file", "--revision", "9").code == 48
    assert twice.read("cat", "/file", "--revision", "2", "--tag", "v1").code == 12


def test_the_log_has_tags(twice: Admin) -> None:
    told = twice.read("log", "--json").objects
    assert [(one["revision"], sorted(tag["name"] for tag in one["tags"])) for one in told] == [
        (3, ["trunk"]),
        (2, ["trunk-previous", "v1"]),
        (1, []),
    ]
    assert len(twice.read("log", "-n", "2").lines) == 2


def test_a_lost_tag_database_is_begun_anew(twice: Admin) -> None:
    assert twice.write("tag", "--forget-lost").code == 47
    assert twice.write("tag", "v1", "--forget-lost").code == 2
    for history in twice.repository.glob("data/??/*H"):
        history.unlink()
    assert twice.write("tag", "v3").code == 41
    assert [one["tag"] for one in twice.write("tag", "--forget-lost", "--json").objects] == ["trunk"]
    assert twice.write("tag", "v1", "--revision", "2").code == 0
    assert twice.read("cat", "/file", "--tag", "v1").out == b"one"


def test_tags_are_added_moved_and_removed(twice: Admin) -> None:
    assert twice.write("tag", "stable", "--revision", "2", "--message", "good").code == 0
    assert twice.write("tag", "stable").code == 47
    assert twice.write("tag", "stable", "--move", "--json").objects[0]["revision"] == 3
    assert twice.write("tag", "stable", "v1", "--remove").lines == ["removed: stable v1"]
    assert [one["tag"] for one in twice.write("tag", "--json").objects] == ["trunk", "trunk-previous"]
    assert twice.write("tag", "trunk", "--remove").code == 47
    assert twice.write("tag", "a", "b").code == 2
    assert twice.write("tag", "--remove").code == 2


def test_a_tag_that_is_taken_publishes_nothing(twice: Admin, tmp_path: Path) -> None:
    (tmp_path / "source" / "file").write_bytes(b"three")
    assert twice.write("publish", tmp_path / "source", "--tag", "v1").code == 47
    assert twice.read("cat", "/file").out == b"number two"
    assert twice.write("publish", tmp_path / "source", "--message", "of what?").code == 2


def test_rollback_goes_back_by_one_or_to_a_name(twice: Admin) -> None:
    assert twice.write("rollback", "--json").objects[0]["target"] == 2
    assert twice.read("cat", "/file").out == b"one"
    assert twice.write("rollback", "--to-revision", "1").code == 0
    assert twice.read("ls").lines == []
    assert twice.write("rollback", "--to-tag", "v9").code == 47
    assert twice.write("rollback", "--to-tag", "v1", "--to-revision", "1").code == 2


def test_gc_removes_what_only_old_revisions_have(twice: Admin) -> None:
    objects = set((twice.repository / "data").glob("??/*"))
    would = twice.write("gc", "--days", "0", "--dry-run", "--json").objects[0]
    assert would["dry_run"] is True
    assert set((twice.repository / "data").glob("??/*")) == objects
    twice.write("tag", "v1", "--remove")
    twice.write("tag", "trunk-previous", "--remove")
    (did,) = twice.write("gc", "--days", "0", "--json").objects
    assert did["objects"] > 0
    assert "removed" in twice.write("gc", "--days", "0").lines[0]
    assert twice.read("cat", "/file").out == b"number two"


def test_diff_tells_what_changed(twice: Admin, tmp_path: Path) -> None:
    (tmp_path / "source" / "new").write_bytes(b"new")
    (tmp_path / "source" / "file").unlink()
    twice.write("publish", tmp_path / "source", "--delete")
    assert twice.read("diff", "3", "4").lines == ["- /file", "+ /new"]
    assert twice.read("diff", "v1", "3").lines[-1].startswith("~ /file  (content")
    told = twice.read("diff", "v1", "--json").objects
    assert [(one["change"], one["path"]) for one in told] == [("removed", "/file"), ("added", "/new")]
    assert twice.read("diff", "4").lines == []
    assert twice.read("diff", "0").code == 12


def test_check_finds_nothing_or_says_what(twice: Admin) -> None:
    assert twice.read("check", "--content", "--tags", "--unreferenced").lines == [
        "tools.example.org: no problems found"
    ]
    (fact,) = twice.read("stat", "/file", "--json").objects
    place = twice.repository / "data" / fact["hash"][:2] / fact["hash"][2:]
    place.unlink()
    ended = twice.read("check", "--json")
    assert ended.code == 18
    assert [one["kind"] for one in ended.objects] == ["missing"]
    assert ended.objects[0]["advice"]
