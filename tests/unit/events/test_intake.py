"""Folding events to repositories and keys."""

from dataclasses import replace

from softman.events.intake import MAX_STRANGERS, Folder
from softman.events.messages import Change, ObjectEvent
from softman.names import RepositoryName


def _event(bucket: str, key: str, change: Change = Change.CREATED) -> ObjectEvent:
    return ObjectEvent(bucket, key, change, "ceph:s3")


ALICE, BOB = RepositoryName("alice", "example.org"), RepositoryName("bob", "example.org")


def test_events_fold_to_sets_of_keys() -> None:
    folder = Folder("example.org")
    folder.add([_event("alice", "cvmfs/a"), _event("bob", "cvmfs/b")])
    folder.add([_event("alice", "cvmfs/a", Change.REMOVED), _event("alice", "cvmfs/c")])
    assert folder.changes == {ALICE: frozenset({"cvmfs/a", "cvmfs/c"}), BOB: frozenset({"cvmfs/b"})}


def test_keys_outside_the_area_and_events_without_content_are_dropped_and_counted() -> None:
    folder = Folder("example.org")
    folder.add([_event("alice", "private/a"), _event("alice", "cvmfs"), _event("alice", "cvmfs/a", Change.OTHER)])
    assert folder.changes == {}
    assert (folder.outside, folder.uneventful) == (2, 1)


def test_keys_that_cannot_be_paths_are_passed_on() -> None:
    folder = Folder("example.org")
    folder.add([_event("alice", "cvmfs/../x"), _event("alice", "cvmfs/")])
    assert folder.changes == {ALICE: frozenset({"cvmfs/../x", "cvmfs/"})}


def test_buckets_that_can_be_no_repository_are_reported_once_and_bounded() -> None:
    folder = Folder("example.org")
    folder.add([_event("No.Label", "cvmfs/a"), _event("No.Label", "cvmfs/b"), _event("alice", "cvmfs/a")])
    assert list(folder.strangers) == ["No.Label"]
    assert "cannot be a repository" in folder.strangers["No.Label"]
    assert set(folder.changes) == {ALICE}
    folder.add([_event(f"Bad.{number}", "cvmfs/a") for number in range(2 * MAX_STRANGERS)])
    assert len(folder.strangers) == MAX_STRANGERS


def test_events_of_a_bucket_that_somebody_else_owns_are_refused_and_reported() -> None:
    folder = Folder("example.org")
    folder.add([replace(_event("alice", "cvmfs/a"), owner="mallory"), replace(_event("bob", "cvmfs/b"), owner="bob")])
    assert folder.changes == {BOB: frozenset({"cvmfs/b"})}
    assert folder.strangers == {"alice": "the bucket alice belongs to 'mallory', not to alice"}
    folder.add([replace(_event("alice", "cvmfs/a"), owner="alice")])
    assert ALICE in folder.changes
