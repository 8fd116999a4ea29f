"""The tag database, against those of the stock tools."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes
from softman.cvmfs.format.history import MAX_HISTORY_SIZE, Branch, History, Tag, is_tag_name
from softman.cvmfs.format.objects import decompress

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.cvmfs.conftest import FixtureRepository

REPOSITORY = "a.example.org"
ONE = Tag("one", hash_bytes(b"1"), 1, 1000, 4096, "the first, with ümläuts")
TWO = Tag("v2.0/rc:1_x", hash_bytes(b"2"), 2, 2000, 8192, "")


@pytest.mark.parametrize("folder", ["basic", "gc", "autocatalog", "rmd160", "shake128"])
def test_stock_histories(load_repository: "Callable[[str], FixtureRepository]", folder: str) -> None:
    repository = load_repository(folder)
    files = repository.files
    seen = 0
    for step in repository.truth["steps"]:
        if "history" not in step:
            continue
        expected = step["history"]
        stored = files[ContentHash.parse(step["manifest"]["H"]).object_path(ObjectKind.HISTORY)]
        history = History.parse(decompress(stored, max_size=MAX_HISTORY_SIZE), repository.name)
        rows = {
            tag.name: (str(tag.root_hash), tag.revision, tag.timestamp, tag.description, tag.size, tag.branch)
            for tag in history.tags
        }
        assert rows == {
            row["name"]: tuple(row[key] for key in ("hash", "revision", "timestamp", "description", "size", "branch"))
            for row in expected["tags"]
        }
        assert history.branches == (Branch(),)
        assert str(history.previous or "0" * 40) == expected["properties"]["previous_revision"].partition("-")[0] or (
            str(history.previous) == expected["properties"]["previous_revision"]
        )
        assert History.parse(history.to_bytes(), repository.name) == history
        seen += 1
    assert seen > 1


def test_the_tables_are_those_of_the_stock_tools(load_repository: "Callable[[str], FixtureRepository]") -> None:
    repository = load_repository("gc")
    name = ContentHash.parse(repository.truth["steps"][-1]["manifest"]["H"]).object_path(ObjectKind.HISTORY)
    stock = decompress(repository.files[name], max_size=MAX_HISTORY_SIZE)
    ours = History.parse(stock, repository.name).to_bytes()

    def columns(data: bytes) -> dict[str, list[tuple[object, ...]]]:
        with closing(sqlite3.connect(":memory:")) as db:
            db.deserialize(data)
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")]
            return {table: db.execute(f"PRAGMA table_info({table})").fetchall() for table in sorted(tables)}

    def rows(data: bytes) -> list[list[tuple[object, ...]]]:
        with closing(sqlite3.connect(":memory:")) as db:
            db.deserialize(data)
            return [sorted(db.execute(f"SELECT * FROM {t}")) for t in ("properties", "branches", "tags", "recycle_bin")]

    assert columns(ours) == columns(stock)
    assert rows(ours) == rows(stock)
    assert ours[18:20] == b"\1\1"


def test_tags_are_values() -> None:
    history = History(REPOSITORY).with_tag(ONE).with_tag(TWO)
    assert history.tags == (ONE, TWO)
    moved = history.with_tag(replace(ONE, revision=3))
    assert [tag.name for tag in moved.tags] == ["v2.0/rc:1_x", "one"]
    assert history.tag("one") == ONE
    assert history.tag("none") is None
    assert history.without("one", "none").tags == (TWO,)
    full = replace(history, previous=hash_bytes(b"p"), branches=(Branch(), Branch("dev", "", 2)))
    assert History.parse(full.to_bytes(), REPOSITORY) == full
    with pytest.raises(FormatError):
        replace(history, tags=(ONE, ONE)).to_bytes()
    with pytest.raises(FormatError):
        replace(history, tags=(replace(ONE, branch="dev"),)).to_bytes()


@pytest.mark.parametrize("name", ["v1.0", "a/b:c-d_e", "Generic", "x" * 255])
def test_tag_names(name: str) -> None:
    assert is_tag_name(name)


@pytest.mark.parametrize("name", ["", "a b", "ü", "trunk", "trunk-previous", "x" * 256, "a\n", "a'b", "a*"])
def test_impossible_tag_names(name: str) -> None:
    assert not is_tag_name(name)


@pytest.mark.parametrize("data", [b"", b"x" * 5000, b"SQLite format 3\0" + bytes(1008)])
def test_no_history(data: bytes) -> None:
    with pytest.raises(FormatError):
        History.parse(data, REPOSITORY)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE properties SET value='2.0' WHERE key='schema'",
        "UPDATE properties SET value='b.example.org' WHERE key='fqrn'",
        "UPDATE properties SET value='xyz' WHERE key='previous_revision'",
        "UPDATE properties SET value=CAST('xyz' AS BLOB) WHERE key='previous_revision'",
        "UPDATE tags SET hash='xyz'",
        "UPDATE tags SET hash=NULL",
        "UPDATE tags SET revision='many'",
        "UPDATE tags SET revision=-1",
        "UPDATE tags SET timestamp=NULL",
        "UPDATE tags SET size='big'",
        "UPDATE tags SET description=CAST('x' AS BLOB)",
        "UPDATE tags SET branch=NULL",
        "UPDATE tags SET name=''",
        "UPDATE tags SET name=NULL",
        "UPDATE tags SET name=CAST(x'ff' AS TEXT)",
        "UPDATE branches SET initial_revision='x'",
        "UPDATE branches SET branch=NULL",
        "CREATE VIEW v AS SELECT 1",
        "DROP TABLE tags",
        "DROP TABLE branches",
        "DROP TABLE properties",
    ],
)
def test_malformed_histories(sql: str) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.deserialize(History(REPOSITORY, (ONE,)).to_bytes())
        db.execute(sql)
        data = db.serialize()
    with pytest.raises(FormatError):
        History.parse(data, REPOSITORY)


def test_what_stock_readers_tolerate_is_tolerated() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.deserialize(History(REPOSITORY, (ONE,)).to_bytes())
        db.execute("DELETE FROM properties WHERE key='previous_revision'")
        db.execute("UPDATE tags SET description=NULL, size=NULL, channel=NULL")
        data = db.serialize()
    assert History.parse(data, REPOSITORY).tags == (replace(ONE, description="", size=0),)
