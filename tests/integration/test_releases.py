"""Old and new releases side by side, on real workers: more fields are ignored, other versions refused by number."""

from typing import Any

import pytest

from softman import wiring
from softman.adapters.vault_layout import Role
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.staging import new_transaction_id
from softman.errors import InvalidInput
from softman.model import Base, CommitRequest
from softman.names import RepositoryName
from softman.services.proof import signed
from softman.tasks.catalogue import COMMIT_REVISION, PUBLISHER, RESYNC
from softman.tasks.client import client_app
from softman.tasks.payloads import commit_request_to_json
from tests.support.patience import SECONDS
from tests.support.site import Site


@pytest.fixture
def client(site: Site) -> Any:
    return client_app(site.settings)


def _question(site: Site, name: RepositoryName) -> dict[str, Any]:
    """A request for what is in force already, rightly signed: it changes nothing."""
    vault, registry = wiring._vault(site.settings, Role.PUBLISHER)
    record = registry.get(name)
    assert record is not None
    keys = vault.read_owner_keys(record.owner, name)
    assert keys is not None
    manifest = site.reader(name).manifest()
    here = Base(manifest.revision, str(manifest.root_hash))
    request = CommitRequest(str(name), new_transaction_id(), here, here.root_hash, key_id="", signature="")
    return commit_request_to_json(signed(request, GatewayKey.parse(keys["gatewayKey"])))


def test_the_door_takes_requests_of_its_version_whatever_they_say_besides(site: Site, client: Any) -> None:
    name = site.provision("versions")
    before = site.reader(name).manifest()
    asked = _question(site, name)

    def answer(payload: dict[str, Any]) -> Any:
        return client.send_task(COMMIT_REVISION.name, args=[payload]).get(timeout=SECONDS)

    taken = answer({**asked, "said-later": {"by": ["a newer publisher"]}})
    assert (taken["committed"], taken["revision"], taken["root_hash"]) == (True, 1, asked["new_root_hash"])
    refused = answer({**asked, "schema": 2})
    assert refused == {"refused": InvalidInput.code, "reason": "commit request of schema 2, known is 1"}
    assert site.reader(name).manifest() == before


def test_a_worker_leaves_out_arguments_it_does_not_know(site: Site, client: Any) -> None:
    name = site.provision("arguments")
    done = client.send_task(RESYNC.name, args=[str(name)], kwargs={"said_later": True}).get(timeout=SECONDS)
    assert done["repository"] == str(name)
    bucket = site.bucket("arguments")
    bucket.put("file", b"1")
    client.send_task("softman.publish_changes", args=[str(name)], kwargs={"said_later": [1]}, ignore_result=True)
    site.shows(name, {"/file": b"1"})


def test_a_task_that_a_worker_does_not_know_is_kept_with_the_reason(site: Site, client: Any) -> None:
    site.dead_letters()
    pid = site.worker_pid("publisher")
    client.send_task("softman.invented_later", args=["x"], queue=PUBLISHER, ignore_result=True)
    letters: list[tuple[bytes, str]] = []

    def kept() -> bool:
        letters.extend(site.dead_letters())
        return any("this worker has no task softman.invented_later" in reason for _, reason in letters)

    site.wait(kept, "it is kept")
    assert site.worker_pid("publisher") == pid
