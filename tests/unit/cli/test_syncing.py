"""What the owner sees of syncs: those that were, the one under way, what is refused and what is pending."""

from dataclasses import replace
from typing import Any

import pytest

from softman.cvmfs.diff import Changed, aspects
from softman.model import Everything, Keys, Refusal, SyncReport
from softman.names import RepositoryName
from softman.services.browsing import changed_aspects

BASIC = RepositoryName("basic", "example.org")


@pytest.mark.parametrize("command", ["syncs", "refused", "pending", "resync", "diff"])
def test_an_unknown_repository_is_told_so_and_nothing_is_sent(softman: Any, backend: Any, command: str) -> None:
    assert softman(command, "nobody").code == 14
    assert backend.sent == []


def test_the_last_syncs_are_listed_newest_first(softman: Any, backend: Any) -> None:
    refused = tuple(Refusal(f"cvmfs/{number}", "why") for number in range(30))
    backend.records.set_report(
        SyncReport(str(BASIC), 2, "aa", added=7, bytes_read=2048, seconds=1.5, scope="everything")
    )
    backend.records.set_report(
        SyncReport(str(BASIC), 3, "bb", 1, 2, 3, refused=refused, finished_at=60.0, scope="3 keys")
    )
    assert [line.split("\t") for line in softman("syncs", "basic").lines] == [
        ["1970-01-01 00:01", "3", "1", "2", "3", "30", "0 B", "0.0", "3 keys"],
        ["-", "2", "7", "0", "0", "0", "2.0 KiB", "1.5", "everything"],
    ]
    (newest,) = softman("syncs", "basic", "-n", "1", "--json").objects
    assert (newest["revision"], newest["added"], newest["refusals"], newest["scope"]) == (3, 1, 30, "3 keys")


def test_every_refused_key_is_listed_with_its_reason(softman: Any, backend: Any) -> None:
    backend.records.set_refusals(
        BASIC, [Refusal("cvmfs/b/../x", "has '..'", "e"), Refusal("cvmfs/a", "too large")], None
    )
    rows = [line.split("\t") for line in softman("refused", "basic").lines]
    assert rows == [["cvmfs/a", "too large"], ["cvmfs/b/../x", "has '..'"]]
    (found,) = softman("refused", "basic", "--prefix", "cvmfs/b/", "--json").objects
    assert found == {"key": "cvmfs/b/../x", "reason": "has '..'", "etag": "e"}


def test_pending_keys_are_listed_with_their_state(softman: Any, backend: Any) -> None:
    lease = backend.pending.acquire(BASIC)
    assert backend.pending.take(lease, BASIC, 10) == Everything()
    backend.pending.done(lease, BASIC, Everything())
    backend.pending.add(BASIC, frozenset({"cvmfs/taken"}))
    assert backend.pending.take(lease, BASIC, 10) == Keys(frozenset({"cvmfs/taken"}))
    backend.pending.add(BASIC, frozenset({"cvmfs/b", "cvmfs/a"}))
    rows = [line.split("\t") for line in softman("pending", "basic").lines]
    assert rows == [["cvmfs/a", "waits"], ["cvmfs/b", "waits"], ["cvmfs/taken", "being published"]]
    assert softman("pending", "basic", "-n", "1", "--json").objects == [
        {
            "repository": "basic.example.org",
            "pending": 2,
            "in_flight": 1,
            "everything": False,
            "held": True,
            "keys": ["cvmfs/a"],
            "keys_in_flight": ["cvmfs/taken"],
        }
    ]


def test_diff_compares_by_default_with_the_revision_before(
    softman: Any, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []

    def note(_output: Any, before: Any, after: Any, _path: str) -> None:
        compared.append((before.manifest.revision, after.manifest.revision))

    monkeypatch.setattr("softman.cli.comparing.show_differences", note)
    newest, before, *_ = (revision.number for revision in backend.reader(BASIC).revisions())
    for arguments in ((), (str(before),), (str(before), str(newest)), ("trunk-previous", "trunk"), ("3", "2")):
        assert softman("diff", "basic", *arguments).code == 0
    assert compared == [(before, newest)] * 4 + [(3, 2)]


def test_diff_between_any_two_and_below_a_path(softman: Any) -> None:
    whole = softman("diff", "basic", "1", "21").lines
    part = softman("diff", "basic", "1", "21", "--path", "/nested").lines
    assert part
    assert set(part) < set(whole)
    assert all(line.startswith("+ /nested") for line in part)
    (found, *_) = softman("diff", "basic", "1", "21", "--path", "/nested", "--json").objects
    assert found == {"change": "added", "path": "/nested", "what": []}


MARKED = {b"user.softman.source": b"etag 1", b"user.other": b"x"}


@pytest.mark.parametrize(
    ("attributes", "mtime", "said"),
    [
        ({b"user.softman.source": b"etag 2", b"user.other": b"x"}, 0, ["source"]),
        ({b"user.softman.source": b"etag 2", b"user.other": b"x"}, 9, ["mtime"]),
        ({b"user.softman.source": b"etag 2", b"user.other": b"y"}, 9, ["mtime", "xattrs"]),
        (MARKED, 9, ["mtime"]),
    ],
)
def test_diff_does_not_bother_people_with_our_own_notes(
    backend: Any, attributes: dict[bytes, bytes], mtime: int, said: list[str]
) -> None:
    with backend.reader(BASIC).snapshot() as snapshot:
        entry = snapshot.lookup("/.cvmfsdirtab")
    old = replace(entry, mtime=0, xattrs=MARKED)
    new = replace(entry, mtime=mtime, xattrs=attributes)
    assert changed_aspects(Changed(entry.path, old, new, aspects(old, new))) == said


@pytest.mark.parametrize(("revision", "code"), [("0", 12), ("99", 48), ("no-such-tag", 47)])
def test_diff_with_what_never_was(softman: Any, revision: str, code: int) -> None:
    assert softman("diff", "basic", revision).code == code
