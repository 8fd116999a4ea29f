"""The recorded conversations once more, with our gateway in the place of the official one.

Tokens are our own, so proofs over them are made anew; those that were wrong stay wrong.
"""

import hashlib
import json
import re
from pathlib import Path

import pytest

from softman.cvmfs.gateway.authorization import authorization
from softman.cvmfs.gateway.gotime import parse_duration
from softman.cvmfs.snapshot import Snapshot
from tests.support.exchanges import FOLDER, Exchange, exchanges, keys, of
from tests.support.gateway import GatewayBench, access_as_recorded

_TOKEN = re.compile(r"[A-Z2-7]{52}====")


@pytest.fixture
def bench(tmp_path: Path) -> GatewayBench:
    return GatewayBench.of_archive("before.tar.gz", tmp_path, access_as_recorded(keys()))


class Player:
    """Sends recorded requests, with our tokens in the place of the recorded ones."""

    def __init__(self, bench: GatewayBench) -> None:
        self.bench = bench
        self.tokens: dict[str, str] = {}

    def play(self, each: Exchange) -> tuple[int, str]:
        """The answer, with the recorded tokens in the place of ours."""
        path, body = self._ours(each.path), self._ours_in(each)
        headers = dict(each.headers)
        if each.over is not None and each.matches:
            key = keys()[headers["authorization"].split(" ")[0]]
            size = int(headers.get("message-size", "0"))
            token = path.rpartition("/")[2].encode()
            signed = {
                "the session token (last part of the path)": token,
                "the first Message-Size bytes of the body": body[:size],
            }.get(each.over, each.signed)
            headers["authorization"] = authorization(key, signed)
        status, text = self.bench.request(each.method, path, body, headers)
        if "session_token" in text:
            self.tokens[each.json["session_token"]] = json.loads(text)["session_token"]
        return status, text

    def _ours(self, text: str) -> str:
        for recorded, own in self.tokens.items():
            text = text.replace(recorded, own)
        return text

    def _ours_in(self, each: Exchange) -> bytes:
        body = each.body
        for recorded, own in self.tokens.items():
            body = body.replace(recorded.encode(), own.encode())
        return body


def _without_what_is_new(text: str) -> object:
    try:
        fields = json.loads(_TOKEN.sub("TOKEN", text))
    except ValueError:
        return text.strip()
    if "time_remaining" in fields:
        assert 7190 < parse_duration(fields["time_remaining"]) <= 7200
        fields["time_remaining"] = "soon"
    return re.sub(r'"expires": "[^"]*"', '"expires": "then"', json.dumps(fields, sort_keys=True))


_ALIKE = [
    *(f"{number}" for number in ("01-get-empty", "02-transaction-root", "07-abort", "08-missing-parent")),
    *("09-invalid-keys", "10-drop", "11-busy-overlap", "16-bad-requests", "18-admin", "19-invalid-key-cli"),
]
_OTHERWISE = {("01-get-empty", 1): "welcome"}


@pytest.mark.parametrize("scenario", _ALIKE)
def test_answers_are_those_of_the_official_gateway(bench: GatewayBench, scenario: str) -> None:
    player = Player(bench)
    for each in of(scenario):
        status, text = player.play(each)
        assert status == each.status, each
        if (scenario, each.number) not in _OTHERWISE:
            assert _without_what_is_new(text) == _without_what_is_new(each.answer), each


def test_busy_paths_and_leases_are_shown(bench: GatewayBench) -> None:
    player = Player(bench)
    for each in of("02-transaction-root") + of("03-get-leased") + of("04-path-busy"):
        status, text = player.play(each)
        assert (status, _without_what_is_new(text)) == (each.status, _without_what_is_new(each.answer)), each


def _shown(bench: GatewayBench) -> dict[str, list[object]]:
    """What the verifying reader shows, in the terms of the recorded truth."""
    found: dict[str, list[object]] = {}
    with bench.reader().snapshot() as snapshot:
        for entry in snapshot.walk():
            if entry.is_dir:
                continue
            mode = f"{entry.mode & 0o7777:04o}"
            told = entry.symlink.decode() if entry.is_symlink else _digest(snapshot, entry.path)
            found[entry.path.decode()] = ["symlink" if entry.is_symlink else "file", mode, entry.size, told]
    return found


def _digest(snapshot: Snapshot, path: bytes) -> str:
    digest = hashlib.sha256()
    for piece in snapshot.read_file(path):
        digest.update(piece)
    return digest.hexdigest()


def _truth(step: str) -> dict[str, list[object]]:
    found: dict[str, list[object]] = json.loads((FOLDER / "truth.json").read_text())[step]
    return {path: [kind, mode, size, told] for path, (kind, mode, size, told) in found.items()}


def test_a_publication_of_a_stock_publisher(bench: GatewayBench) -> None:
    player = Player(bench)
    for each in of("02-transaction-root") + of("05-publish-root"):
        status, text = player.play(each)
        assert (status, _without_what_is_new(text)) == (each.status, _without_what_is_new(each.answer)), each
    assert _normal(_shown(bench)) == _normal(_truth("1"))
    with bench.reader().snapshot() as snapshot:
        assert snapshot.lookup("/dir/attr").xattrs
        assert snapshot.lookup("/nested").is_mountpoint
        assert snapshot.lookup("/chunked").chunks
    tag = bench.reader().history().tag("v1")
    assert tag is not None
    assert (tag.revision, tag.description) == (2, "first")
    assert not list((bench.root / "data" / "txn").iterdir())


def test_a_publication_on_a_revision_that_is_not_in_force_any_more(tmp_path: Path) -> None:
    bench = GatewayBench.of_archive("after-12-first.tar.gz", tmp_path, access_as_recorded(keys()))
    with bench.repository.transaction() as tx:
        tx.add_bytes("/dir/hello", b"changed meanwhile")
    player = Player(bench)
    for number in (2, 7, 8, 9):
        each = of("12-two-publishers")[number - 1]
        status, text = player.play(each)
        expected = each.answer.replace('"final_revision":5', '"final_revision":6')
        assert (status, _without_what_is_new(text)) == (each.status, _without_what_is_new(expected)), each
    shown, truth = _normal(_shown(bench)), _normal(_truth("4"))
    assert shown.pop("/dir/hello")[2] == len("changed meanwhile")
    del truth["/dir/hello"]
    assert shown == truth


def _normal(shown: dict[str, list[object]]) -> dict[str, list[object]]:
    return {path: [kind, str(mode).lstrip("0o"), size, told] for path, (kind, mode, size, told) in shown.items()}


def test_expired_leases(bench: GatewayBench) -> None:
    player = Player(bench)
    first, *following = of("21-expired-commit")
    player.play(first)
    bench.clock.tick(7201)
    for each in following:
        status, text = player.play(each)
        assert (status, _without_what_is_new(text)) == (each.status, _without_what_is_new(each.answer)), each


_FAULTS = {
    "17-payload-bad-digest": "invalid payload: the header of an object pack does not have the digest announced",
    "17-payload-bad-header-size": "invalid payload: the header of an object pack does not have the digest announced",
    "17-payload-bad-object": "has the hash",
    "17-payload-short": "5 of 38 bytes are missing",
}


@pytest.mark.parametrize("scenario", _FAULTS)
def test_payloads_that_the_official_gateway_drops_or_breaks_on_are_refused(bench: GatewayBench, scenario: str) -> None:
    player = Player(bench)
    acquire, faulty, correct, *rest = of(scenario)
    player.play(acquire)
    status, text = player.play(faulty)
    assert (status, json.loads(text)["status"]) == (200, "error")
    assert _FAULTS[scenario] in json.loads(text)["reason"]
    assert json.loads(player.play(correct)[1]) == {"status": "ok"}  # the lease is as good as before
    for each in rest:
        status, text = player.play(each)
        assert (status, _without_what_is_new(text)) == (each.status, _without_what_is_new(each.answer)), each


def test_requests_about_payloads(bench: GatewayBench) -> None:
    player = Player(bench)
    for each in of("17-payload-requests"):
        status, text = player.play(each)
        assert (status, _without_what_is_new(text)) == (each.status, _without_what_is_new(each.answer)), each


@pytest.mark.parametrize(
    ("scenario", "reason"), [("17-commit-no-change", ""), ("17-commit-unknown-root", "merge_error: ")]
)
def test_commits_that_the_official_receiver_breaks_on(bench: GatewayBench, scenario: str, reason: str) -> None:
    player = Player(bench)
    acquire, commit, *_ = of(scenario)
    player.play(acquire)
    fields = json.loads(player.play(commit)[1])
    assert fields["reason"].startswith("merge_error: ")  # neither root catalog is in this repository
    assert reason in fields["reason"]
    assert bench.reader().manifest().revision == 1


def test_all_conversations_are_played_somewhere() -> None:
    played = {*_ALIKE, *_FAULTS, "03-get-leased", "04-path-busy", "05-publish-root", "12-two-publishers"}
    played |= {"17-payload-requests", "17-commit-no-change", "17-commit-unknown-root", "21-expired-commit"}
    # These begin with what the official gateway made of the ones before; 20 is 21 with a stock publisher.
    played |= {
        "06-publish-subpath",
        "13-ingest",
        "14-empty-publish",
        "15-outside-lease",
        "20-lease-expired",
        "22-final",
    }
    assert {each.scenario for each in exchanges()} == played
