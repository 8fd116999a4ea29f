"""The difference of two catalogs as rows."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from softman.cvmfs import inspection_delta
from softman.cvmfs.format.catalog import CatalogReader
from softman.cvmfs.format.catalog_writer import create_catalog, root_entry
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.hashes import hash_bytes
from softman.cvmfs.inspection_delta import compare, own_counters

Names = set[str]
Changed = Callable[[str], AbstractContextManager[sqlite3.Connection]]


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    """Gives a connection with a catalog changed by SQL as ``main``, and what it was before as ``base``."""
    base = tmp_path / "base.db"
    with closing(sqlite3.connect(base, isolation_level=None)) as db:
        writer = create_catalog(db, root_entry(5))
        for directory in (b"/d", b"/e"):
            writer.put(Entry(path=directory, mode=0o40755, size=4096, mtime=5, linkcount=2, flags=1))
            for name in (b"/a", b"/b", b"/c"):
                writer.put(Entry(path=directory + name, mode=0o100644, size=1, mtime=5, hash=hash_bytes(b"x")))
        writer.finish(revision=1, last_modified=5, previous=None, ttl=60)

    @contextmanager
    def changed(sql: str) -> Iterator[sqlite3.Connection]:
        main = tmp_path / "main.db"
        main.write_bytes(base.read_bytes())
        with closing(sqlite3.connect(main, isolation_level=None)) as db:
            db.executescript(sql)
            db.execute("ATTACH ? AS base", (str(base),))
            db.execute("PRAGMA query_only=ON")
            yield db

    return changed


def names(connection: sqlite3.Connection, table: str) -> Names:
    return {str(name) for (name,) in connection.execute(f"SELECT name FROM temp.{table}")}


IN_D = "parent_1=(SELECT md5path_1 FROM catalog WHERE name='d')"


@pytest.mark.parametrize(
    ("sql", "new", "old", "scope"),
    [
        ("", set(), set(), set()),
        (f"UPDATE catalog SET mtime=6 WHERE name='a' AND {IN_D}", {"a"}, {"a"}, {"a"}),
        (f"DELETE FROM catalog WHERE name='a' AND {IN_D}", set(), {"a"}, set()),
        ("UPDATE catalog SET rowid=rowid+100", set(), set(), set()),
        (f"UPDATE catalog SET rowid=50, size=2 WHERE name='a' AND {IN_D}", {"a"}, {"a"}, {"a"}),
        ("DELETE FROM catalog WHERE name='d'", set(), {"d"}, {"a", "b", "c"}),
        ("UPDATE catalog SET flags=4 WHERE name='d'", {"d"}, {"d"}, {"a", "b", "c", "d"}),
        ("UPDATE catalog SET mode=0 WHERE name='d'", {"d"}, {"d"}, {"d"}),
        (
            f"UPDATE catalog SET hardlinks=4294967298 WHERE name<>'c' AND {IN_D}",
            {"a", "b"},
            {"a", "b"},
            {"a", "b"},
        ),
    ],
)
def test_what_differs_and_what_it_concerns(changed: Changed, sql: str, new: Names, old: Names, scope: Names) -> None:
    with changed(sql) as connection:
        assert compare(connection)
        assert names(connection, "new_rows") == new
        assert names(connection, "old_rows") == old
        assert names(connection, "scope") == scope
        with closing(sqlite3.connect(connection.execute("PRAGMA database_list").fetchall()[-1][2])) as base:
            before = CatalogReader(base).counters.own
        assert own_counters(connection, before) == own_counters(connection, None)


def test_members_of_a_group_that_did_not_change_are_concerned(changed: Changed, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "base.db", isolation_level=None)) as base:
        base.execute(f"UPDATE catalog SET hardlinks=4294967299 WHERE {IN_D}")
    with changed(f"DELETE FROM catalog WHERE name='a' AND {IN_D}") as connection:
        assert compare(connection)
        assert names(connection, "scope") == {"b", "c"}


def test_a_large_difference_is_not_gone_into(changed: Changed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection_delta, "MAX_ROWS", 2)
    with changed(f"UPDATE catalog SET mtime=6 WHERE {IN_D}") as connection:
        assert not compare(connection)
    with changed("UPDATE catalog SET mtime=6 WHERE name='a'") as connection:
        assert compare(connection)
