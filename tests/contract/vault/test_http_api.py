"""The HTTP API through hvac, on the stand-in and on a real server: what softman and its administrators rely on."""

import json
from collections.abc import Callable
from typing import Any

import hvac
import pytest
import requests
from hvac import exceptions as vault_errors

Connect = Callable[[str, str], hvac.Client]


class Kv:
    """hvac's KV version 2 with the mount filled in."""

    def __init__(self, client: hvac.Client, mount: str) -> None:
        self._api: Any = client.secrets.kv.v2
        self._mount = mount

    def write(self, path: str, values: dict[str, Any], cas: int | None = None) -> int:
        answer = self._api.create_or_update_secret(path=path, secret=values, cas=cas, mount_point=self._mount)
        return int(answer["data"]["version"])

    def read(self, path: str, version: int | None = None) -> Any:
        answer = self._api.read_secret_version(
            path=path, version=version, mount_point=self._mount, raise_on_deleted_version=True
        )
        return answer["data"]["data"]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._api, name)
        return lambda *args, **kwargs: method(*args, mount_point=self._mount, **kwargs)


@pytest.fixture
def kv(root: hvac.Client, mount: str) -> Kv:
    return Kv(root, mount)


class TestVersions:
    def test_write_read_and_old_versions(self, kv: Kv) -> None:
        assert kv.write("a/b", {"n": 1}) == 1
        assert kv.write("a/b", {"n": [2, {"deep": None}]}) == 2
        assert kv.read("a/b") == {"n": [2, {"deep": None}]}
        assert kv.read("a/b", 1) == {"n": 1}

    @pytest.mark.parametrize("version", [None, 3])
    def test_what_is_not_there_is_404_without_a_message(self, kv: Kv, version: int | None) -> None:
        kv.write("there", {})
        with pytest.raises(vault_errors.InvalidPath) as caught:
            kv.read("there" if version else "nowhere", version)
        assert caught.value.errors == []

    def test_check_and_set(self, kv: Kv) -> None:
        assert kv.write("a", {"n": 1}, cas=0) == 1
        for wrong in (0, 2):
            with pytest.raises(vault_errors.InvalidRequest, match="check-and-set parameter did not match"):
                kv.write("a", {"n": 2}, cas=wrong)
        assert kv.read("a") == {"n": 1}
        assert kv.write("a", {"n": 2}, cas=1) == 2

    def test_check_and_set_of_nothing(self, kv: Kv) -> None:
        with pytest.raises(vault_errors.InvalidRequest, match="check-and-set"):
            kv.write("a", {}, cas=1)
        with pytest.raises(vault_errors.InvalidPath):
            kv.read_secret_metadata("a")

    def test_check_and_set_can_be_required(self, kv: Kv) -> None:
        kv.configure(cas_required=True, max_versions=3)
        assert kv.read_configuration()["data"]["max_versions"] == 3
        with pytest.raises(vault_errors.InvalidRequest, match="check-and-set parameter required"):
            kv.write("a", {})
        assert kv.write("a", {}, cas=0) == 1

    def test_old_versions_go(self, kv: Kv) -> None:
        kv.configure(max_versions=3)
        for number in range(1, 6):
            kv.write("a", {"n": number})
        metadata = kv.read_secret_metadata("a")["data"]
        assert metadata["current_version"] == 5
        assert metadata["oldest_version"] == 3
        assert sorted(metadata["versions"]) == ["3", "4", "5"]
        with pytest.raises(vault_errors.InvalidPath):
            kv.read("a", 2)

    def test_delete_is_soft_and_can_be_undone(self, kv: Kv) -> None:
        kv.write("a", {"n": 1})
        kv.write("a", {"n": 2})
        kv.delete_latest_version_of_secret("a")
        with pytest.raises(vault_errors.InvalidPath) as caught:
            kv.read("a")
        body: Any = caught.value.json
        assert body["data"]["data"] is None
        assert body["data"]["metadata"]["version"] == 2
        assert body["data"]["metadata"]["deletion_time"]
        assert kv.read("a", 1) == {"n": 1}
        with pytest.raises(vault_errors.InvalidRequest, match="check-and-set"):
            kv.write("a", {"n": 3}, cas=0)
        kv.undelete_secret_versions("a", [2])
        assert kv.read("a") == {"n": 2}

    def test_destroy_is_final(self, kv: Kv) -> None:
        kv.write("a", {"n": 1})
        kv.destroy_secret_versions("a", [1])
        kv.undelete_secret_versions("a", [1])
        with pytest.raises(vault_errors.InvalidPath):
            kv.read("a")
        assert kv.read_secret_metadata("a")["data"]["versions"]["1"]["destroyed"] is True
        assert kv.write("a", {"n": 2}, cas=1) == 2

    def test_delete_chosen_versions(self, kv: Kv) -> None:
        for number in (1, 2, 3):
            kv.write("a", {"n": number})
        kv.delete_secret_versions("a", [1, 3])
        assert kv.read("a", 2) == {"n": 2}
        for gone in (1, 3):
            with pytest.raises(vault_errors.InvalidPath):
                kv.read("a", gone)

    def test_metadata_goes_with_everything(self, kv: Kv) -> None:
        kv.write("a", {"n": 1})
        kv.update_metadata("a", max_versions=2, custom_metadata={"owner": "alice"})
        assert kv.read_secret_metadata("a")["data"]["custom_metadata"] == {"owner": "alice"}
        kv.delete_metadata_and_all_versions("a")
        with pytest.raises(vault_errors.InvalidPath):
            kv.read_secret_metadata("a")
        assert kv.write("a", {"n": 2}, cas=0) == 1

    def test_list(self, kv: Kv) -> None:
        for path in ("f/b", "f/a", "f/sub/deep/x", "other"):
            kv.write(path, {})
        kv.delete_latest_version_of_secret("f/a")
        assert kv.list_secrets("f")["data"]["keys"] == ["a", "b", "sub/"]
        assert kv.list_secrets("")["data"]["keys"] == ["f/", "other"]
        with pytest.raises(vault_errors.InvalidPath):
            kv.list_secrets("f/a")

    @pytest.mark.parametrize("name", ["auth0|alice@example.org", "a b", "ü", "100%", "a%2Fb", "plus+star*"])
    def test_names_with_odd_characters(self, kv: Kv, name: str) -> None:
        kv.write(f"odd/{name}/x", {"name": name})
        assert kv.read(f"odd/{name}/x") == {"name": name}
        assert kv.list_secrets("odd")["data"]["keys"] == [f"{name}/"]

    def test_no_data_is_refused(self, root: hvac.Client, mount: str) -> None:
        with pytest.raises(vault_errors.InvalidRequest, match="no data provided"):
            root.adapter.post(f"/v1/{mount}/data/a", json={"options": {}})


class TestMounts:
    def test_listed_with_type_and_version(self, root: hvac.Client, mount: str) -> None:
        system: Any = root.sys
        found = system.list_mounted_secrets_engines()["data"][f"{mount}/"]
        assert found["type"] == "kv"
        assert found["options"] == {"version": "2"}

    def test_twice_is_refused(self, root: hvac.Client, mount: str) -> None:
        with pytest.raises(vault_errors.InvalidRequest, match="path is already in use"):
            root.sys.enable_secrets_engine("kv", path=mount, options={"version": "2"})

    def test_disabled_is_gone(self, root: hvac.Client, kv: Kv, mount: str) -> None:
        kv.write("a", {})
        system: Any = root.sys
        system.disable_secrets_engine(mount)
        with pytest.raises(vault_errors.InvalidPath, match="no handler for route"):
            kv.read("a")

    def test_auth_methods(self, root: hvac.Client, approle: str) -> None:
        system: Any = root.sys
        assert system.list_auth_methods()["data"][f"{approle}/"]["type"] == "approle"
        with pytest.raises(vault_errors.InvalidRequest, match="path is already in use"):
            root.sys.enable_auth_method("approle", path=approle)


class TestPolicies:
    def test_write_read_list_delete(self, root: hvac.Client, unique: str) -> None:
        system: Any = root.sys
        text = 'path "x/*" { capabilities = ["read"] }'
        system.create_or_update_acl_policy(unique, text)
        assert (
            system.read_acl_policy(unique)["data"] | {"name": unique, "policy": text}
            == (system.read_acl_policy(unique)["data"])
        )
        assert {unique, "default", "root"} <= set(system.list_acl_policies()["data"]["keys"])
        system.delete_acl_policy(unique)
        with pytest.raises(vault_errors.InvalidPath):
            system.read_acl_policy(unique)

    @pytest.mark.parametrize("text", ['path "x" {', 'path "x" { capabilities = ["fly"] }', 'path "x/+*" {}'])
    def test_nonsense_is_refused(self, root: hvac.Client, unique: str, text: str) -> None:
        with pytest.raises(vault_errors.InvalidRequest):
            root.sys.create_or_update_acl_policy(unique, text)

    def test_what_is_granted_works(self, limited: hvac.Client, mount: str) -> None:
        kv = Kv(limited, mount)
        assert kv.write("open/a", {"n": 1}) == 1
        assert kv.write("open/a", {"n": 2}) == 2
        assert kv.read("open/a") == {"n": 2}
        assert kv.list_secrets("open")["data"]["keys"] == ["a"]

    def test_what_is_not_granted_is_403(self, limited: hvac.Client, kv: Kv, mount: str) -> None:
        kv.write("other", {})
        own = Kv(limited, mount)
        system: Any = limited.sys
        for call in (
            lambda: own.read("other"),
            lambda: own.write("other", {}),
            lambda: own.list_secrets(""),
            lambda: own.read("nowhere"),
            lambda: own.read_secret_metadata("open/a"),
            lambda: system.enable_secrets_engine("kv", path="mine", options={"version": "2"}),
            system.seal,
        ):
            with pytest.raises(vault_errors.Forbidden, match="permission denied"):
                call()

    def test_deny_and_the_more_specific_path_win(self, limited: hvac.Client, kv: Kv, mount: str) -> None:
        kv.write("open/closed/a", {})
        kv.write("any/shared", {"n": 1})
        own = Kv(limited, mount)
        with pytest.raises(vault_errors.Forbidden):
            own.read("open/closed/a")
        assert own.read("any/shared") == {"n": 1}
        with pytest.raises(vault_errors.Forbidden):
            own.write("any/shared", {})

    def test_create_without_update_writes_once(self, limited: hvac.Client, mount: str) -> None:
        own = Kv(limited, mount)
        assert own.write("append/a", {}) == 1
        with pytest.raises(vault_errors.Forbidden):
            own.write("append/a", {})

    def test_a_changed_policy_counts_at_once(self, root: hvac.Client, limited: hvac.Client, mount: str) -> None:
        own = Kv(limited, mount)
        own.write("open/a", {})
        root.sys.create_or_update_acl_policy(f"p-{mount}", json.dumps({"path": {"x": {"capabilities": ["read"]}}}))
        with pytest.raises(vault_errors.Forbidden):
            own.read("open/a")

    def test_capabilities_of_oneself(self, limited: hvac.Client, mount: str) -> None:
        paths = [f"{mount}/data/open/a", f"{mount}/data/open/closed/a"]
        found: Any = limited.adapter.post("/v1/sys/capabilities-self", json={"paths": paths})
        assert sorted(found["data"][paths[0]]) == ["create", "delete", "read", "update"]
        assert found["data"][paths[1]] == ["deny"]


class TestSystem:
    def test_health(self, root: hvac.Client, server: Any, connect: Connect) -> None:
        nobody: Any = connect(server.address, "")
        health = nobody.sys.read_health_status(method="GET")
        assert health["initialized"] is True
        assert health["sealed"] is False
        assert nobody.sys.is_initialized()
        assert root.is_authenticated()

    def test_seal_and_unseal(self, root: hvac.Client, server: Any, kv: Kv, connect: Connect) -> None:
        kv.write("a", {"n": 1})
        nobody: Any = connect(server.address, "")
        system: Any = root.sys
        system.seal()
        try:
            assert nobody.sys.is_sealed()
            with pytest.raises(vault_errors.VaultDown, match="Vault is sealed"):
                kv.read("a")
            assert requests.get(f"{server.address}/v1/sys/health", timeout=60).status_code == 503
            with pytest.raises(vault_errors.InvalidRequest):
                nobody.sys.submit_unseal_key("00" * 32)
            assert nobody.sys.is_sealed()
        finally:
            assert nobody.sys.submit_unseal_key(server.unseal_key)["sealed"] is False
        assert kv.read("a") == {"n": 1}

    def test_errors_have_a_body_of_errors(self, server: Any, root: hvac.Client) -> None:
        headers = {"X-Vault-Token": root.token}
        answer = requests.get(f"{server.address}/v1/nowhere/at/all", headers=headers, timeout=60)
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json()["errors"]
        answer = requests.post(f"{server.address}/v1/sys/mounts/x", headers=headers, data="{", timeout=60)
        assert answer.status_code == 400
        assert answer.json()["errors"]
