"""Looking at one object that changes meanwhile."""

from pathlib import Path

import pytest

from softman.adapters.memory import MemoryBuckets
from softman.cvmfs.staging import Staging, StoredObject
from softman.cvmfs.store import MemoryStore
from softman.errors import Conflict
from softman.model import BucketObject
from softman.services.archives.limits import ArchiveLimits
from softman.services.mapping import Rules, Target
from softman.services.observe import Gone, Observer, Seen

PART = 300_000
KEY = "cvmfs/a"


class Restless(MemoryBuckets):
    """Alice's bucket, whose object is replaced, or deleted, just before more of it is read."""

    def __init__(self, *versions: bytes | None) -> None:
        super().__init__(users=("alice",), part=PART)
        self.ensure_bucket("alice", "alice")
        self.versions = list(versions)
        self.next_version()

    def next_version(self) -> None:
        version = self.versions.pop(0)
        if version is None:
            self.delete("alice", KEY)
        else:
            self.put("alice", KEY, version)

    def head(self, bucket: str, key: str) -> BucketObject | None:
        if self.versions:
            self.next_version()
        return super().head(bucket, key)


def look(buckets: Restless, tmp_path: Path) -> object:
    staging = Staging(MemoryStore().new_area())
    observer = Observer(
        buckets,
        "alice",
        staging,
        Rules("alice.example.org"),
        admit=lambda _target, _info: None,
        archives=ArchiveLimits(),
        scratch=tmp_path,
    )
    return observer.observe(Target(KEY, b"/a"), None)


def large(mark: bytes) -> bytes:
    return mark * (2 * PART)


def test_an_object_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    seen = look(Restless(large(b"1"), large(b"2"), large(b"3")), tmp_path)
    assert isinstance(seen, Seen)
    expected = Staging(MemoryStore().new_area()).write_file([large(b"3")])
    assert isinstance(expected, StoredObject)
    assert seen.content == expected


def test_one_that_always_changes_is_left_for_later(tmp_path: Path) -> None:
    buckets = Restless(*(large(b"%d" % number) for number in range(9)))
    with pytest.raises(Conflict):
        look(buckets, tmp_path)
    assert len(buckets.versions) == 5  # one to begin with, and one for each of three tries


def test_one_that_goes_while_it_is_read_is_gone(tmp_path: Path) -> None:
    assert isinstance(look(Restless(large(b"1"), None), tmp_path), Gone)


def test_one_that_shrinks_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    seen = look(Restless(large(b"1"), b"#!/bin/sh"), tmp_path)
    assert isinstance(seen, Seen)
    assert (seen.info.size, seen.mode) == (9, 0o755)
