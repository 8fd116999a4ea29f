"""Commands about keys: rotating, signing whitelists elsewhere, the audit log, and what status says of expiry."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from softman.adapters.audit import AuditFiles
from softman.cvmfs.format.hashes import HashAlgorithm, hash_bytes
from softman.cvmfs.format.keys import generate_master_key
from softman.cvmfs.format.whitelist import Whitelist
from softman.cvmfs.verify import verify_whitelist
from softman.model import AuditEvent
from softman.tasks.catalogue import ROTATE
from tests.unit.cli.conftest import DoneRequest, Softman

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_rotating(softman: Softman, backend: Any) -> None:
    backend.on_send = lambda _task: DoneRequest("done so")
    assert softman("rotate", "certificate", "basic", "--revoke").lines == ["done so"]
    assert softman("rotate", "gateway-key", "basic").code == 0
    (fields,) = softman("rotate", "master-key", "basic", "--switch", "--json").objects
    assert fields["message"] == "done so"
    assert backend.sent == [
        (ROTATE.name, ("basic.example.org", "certificate", "", False, True)),
        (ROTATE.name, ("basic.example.org", "gateway-key", "", False, False)),
        (ROTATE.name, ("basic.example.org", "master-key", "", True, False)),
    ]
    assert softman("rotate", "certificate", "nobody").code == 14


def test_the_public_key_to_come(softman: Softman, backend: Any) -> None:
    assert softman("key", "basic", "--next").code == 14
    backend.announced = (b"-----BEGIN PUBLIC KEY-----\nnext\n",)
    assert softman("key", "basic", "--next").lines[1] == "next"
    assert softman("key", "basic").lines[1] != "next"


def test_a_whitelist_is_signed_without_a_service(softman: Softman, tmp_path: Path) -> None:
    private, public = generate_master_key()
    (tmp_path / "master").write_bytes(private)
    listed = hash_bytes(b"certificate", HashAlgorithm.SHAKE128)
    made = Whitelist(repository="alice.example.org", created=NOW, expires=NOW.replace(month=12), fingerprints=(listed,))
    (tmp_path / "list").write_bytes(made.to_text())
    shown = softman("whitelist", "sign", tmp_path / "list", "--master-key", tmp_path / "master").out.decode()
    assert "alice.example.org" in shown
    assert "2026-12-22" in shown
    assert "-SHAKE128" in shown
    signed = (tmp_path / "list.signed").read_bytes()
    assert verify_whitelist(signed, [public], "alice.example.org", NOW) == made
    assert softman("whitelist", "sign", tmp_path / "master", "--master-key", tmp_path / "master").code == 31


def test_the_audit_log(softman: Softman, backend: Any, tmp_path: Path) -> None:
    backend.audit_files = tmp_path / "audit"
    assert softman("audit").code == 0
    log = AuditFiles(backend.audit_files, lambda: NOW)
    log.record(
        AuditEvent("provision", "done", "alice", "dashboard", detail="alice.example.org", more={"owner": "alice"})
    )
    log.record(AuditEvent("commit", "refused", "basic.example.org", detail="why\x1b[2J"))
    assert [event["action"] for event in softman("audit", "--json").objects] == ["provision", "commit"]
    assert [event["action"] for event in softman("audit", "--user", "alice", "--json").objects] == ["provision"]
    assert [event["action"] for event in softman("audit", "--repository", "basic", "--json").objects] == ["commit"]
    assert [event["action"] for event in softman("audit", "--repository", "alice", "--json").objects] == ["provision"]
    assert softman("audit", "--since", "2026-11-23", "--json").objects == []
    assert len(softman("audit", "--since", "2026-11-22", "--json").objects) == 2
    shown = softman("audit").out
    assert b"refused" in shown
    assert b"\x1b" not in shown


def test_status_warns_of_a_whitelist_that_was_not_signed(softman: Softman, backend: Any) -> None:
    fine = softman("status", "basic")
    assert "valid until" in fine.out.decode()
    assert "signed anew" not in fine.err
    (fields,) = softman("status", "basic", "--json").objects
    backend.clock = datetime.fromtimestamp(fields["whitelist_expires"] - 6 * 86400, UTC)
    assert "was not signed anew" in softman("status", "basic").err
    backend.clock = datetime.fromtimestamp(fields["whitelist_expires"] + 86400, UTC)
    assert "was not signed anew" in softman("status", "basic").err
