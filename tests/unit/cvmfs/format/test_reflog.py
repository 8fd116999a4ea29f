"""The reflog, against those of the stock tools."""

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.hashes import hash_bytes
from softman.cvmfs.format.reflog import REFLOG_NAME, ReferenceKind, Reflog

if TYPE_CHECKING:
    from tests.unit.cvmfs.conftest import FixtureRepository

KINDS = {"catalog": ReferenceKind.CATALOG, "certificate": 1, "history": 2, "metainfo": 3}


def test_stock_reflogs(any_repository: "FixtureRepository") -> None:
    refs = any_repository.truth["steps"][-1]["reflog"]["refs"]
    with Reflog.parse(any_repository.files[REFLOG_NAME], any_repository.name) as reflog:
        found = {(str(r.hash), int(r.kind), r.timestamp) for r in reflog.references()}
        assert found == {(r["hash"], r["type"], r["timestamp"]) for r in refs}
        first = next(reflog.references()).hash
        assert first in reflog


def test_adding_and_reading_back() -> None:
    with Reflog.create("a.example.org") as reflog:
        for number in range(300):
            reflog.add(hash_bytes(b"%d" % number), ReferenceKind.CATALOG, 1000 + number)
        reflog.add(hash_bytes(b"5"), ReferenceKind.METAINFO, 9999)
        data = reflog.to_bytes()
    assert data[18:20] == b"\1\1"
    with Reflog.parse(data, "a.example.org") as reflog:
        references = list(reflog.references())
        assert len(references) == 300
        assert (references[-1].hash, references[-1].kind, references[-1].timestamp) == (
            hash_bytes(b"5"),
            ReferenceKind.METAINFO,
            9999,
        )
        assert hash_bytes(b"none") not in reflog
        reflog.add(hash_bytes(b"more"), ReferenceKind.CATALOG, 1)
        assert len(reflog.to_bytes()) >= len(data)
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(data)
        assert dict(db.execute("SELECT key, value FROM properties")) == {
            "schema": "1.0",
            "schema_revision": "0",
            "fqrn": "a.example.org",
        }


@pytest.mark.parametrize("data", [b"", b"x" * 5000, b"SQLite format 3\0" + bytes(1008)])
def test_no_reflog(data: bytes) -> None:
    with pytest.raises(FormatError):
        Reflog.parse(data, "a.example.org")


def test_of_another_repository() -> None:
    with Reflog.create("a.example.org") as reflog:
        data = reflog.to_bytes()
    with pytest.raises(FormatError, match=r"b\.example\.org"):
        Reflog.parse(data, "b.example.org")
