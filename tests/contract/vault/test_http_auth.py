"""Tokens and AppRoles through hvac, on the stand-in and on a real server."""

from collections.abc import Callable
from typing import Any

import hvac
import pytest
from hvac import exceptions as vault_errors

Connect = Callable[[str, str], hvac.Client]
Wait = Callable[..., None]


class TestTokens:
    def test_no_token_and_a_wrong_token_are_403(self, server: Any, connect: Connect) -> None:
        for token in ("", "wrong"):
            with pytest.raises(vault_errors.Forbidden, match="permission denied"):
                connect(server.address, token).auth.token.lookup_self()

    def test_lookup_self(self, limited: hvac.Client, mount: str) -> None:
        data = limited.auth.token.lookup_self()["data"]
        assert data["id"] == limited.token
        assert sorted(data["policies"]) == ["default", f"p-{mount}"]
        assert 0 < data["ttl"] <= 600
        assert data["renewable"] is True

    def test_renew_self(self, limited: hvac.Client) -> None:
        auth = limited.auth.token.renew_self(increment="30m")["auth"]
        assert auth["client_token"] == limited.token
        assert 1700 < auth["lease_duration"] <= 1800
        assert limited.auth.token.lookup_self()["data"]["ttl"] > 1700

    def test_revoke_self(self, limited: hvac.Client) -> None:
        limited.auth.token.revoke_self()
        with pytest.raises(vault_errors.Forbidden):
            limited.auth.token.lookup_self()

    def test_children_go_with_their_parent(self, root: hvac.Client, server: Any, connect: Connect) -> None:
        parent = connect(server.address, root.auth.token.create(policies=["root"], ttl="5m")["auth"]["client_token"])
        child = connect(server.address, parent.auth.token.create(policies=["default"])["auth"]["client_token"])
        child.auth.token.lookup_self()
        root.auth.token.revoke(parent.token)
        with pytest.raises(vault_errors.Forbidden):
            child.auth.token.lookup_self()

    def test_a_token_ends_by_itself(self, root: hvac.Client, server: Any, connect: Connect, wait: Wait) -> None:
        made = root.auth.token.create(policies=["default"], ttl="1s")
        client = connect(server.address, made["auth"]["client_token"])

        def ended() -> bool:
            try:
                client.auth.token.lookup_self()
            except vault_errors.Forbidden:
                return True
            return False

        assert not ended()
        wait(ended, "the token has ended", 10)

    def test_the_root_token_is_not_renewable(self, root: hvac.Client) -> None:
        assert root.auth.token.lookup_self()["data"]["ttl"] == 0
        with pytest.raises(vault_errors.InvalidRequest):
            root.auth.token.renew_self()

    def test_a_number_of_uses(self, root: hvac.Client, server: Any, mount: str, connect: Connect) -> None:
        root.sys.create_or_update_acl_policy(f"u-{mount}", f'path "{mount}/data/x" {{ capabilities = ["update"] }}')
        root.secrets.kv.v2.create_or_update_secret("x", {"a": "b"}, mount_point=mount)
        made = root.auth.token.create(policies=[f"u-{mount}"], num_uses=2)
        client = connect(server.address, made["auth"]["client_token"])
        for _ in range(2):
            client.secrets.kv.v2.create_or_update_secret("x", {"a": "b"}, mount_point=mount)
        with pytest.raises(vault_errors.Forbidden):
            client.secrets.kv.v2.create_or_update_secret("x", {"a": "b"}, mount_point=mount)


class TestAppRole:
    def _login(self, root: hvac.Client, client: hvac.Client, mount: str, role: str = "r") -> Any:
        role_id = root.auth.approle.read_role_id(role, mount_point=mount)["data"]["role_id"]
        secret_id = root.auth.approle.generate_secret_id(role, mount_point=mount)["data"]["secret_id"]
        return client.auth.approle.login(role_id, secret_id, mount_point=mount)

    def test_role_and_login(self, root: hvac.Client, server: Any, approle: str, connect: Connect) -> None:
        root.auth.approle.create_or_update_approle(
            "r", token_policies=["p1", "p2"], token_ttl="20m", token_max_ttl="1h", mount_point=approle
        )
        role = root.auth.approle.read_role("r", mount_point=approle)["data"]
        assert role["token_policies"] == ["p1", "p2"]
        assert (role["token_ttl"], role["token_max_ttl"]) == (1200, 3600)
        assert root.auth.approle.list_roles(mount_point=approle)["data"]["keys"] == ["r"]
        client = connect(server.address, "")
        auth = self._login(root, client, approle)["auth"]
        assert auth["lease_duration"] == 1200
        assert sorted(auth["policies"]) == ["default", "p1", "p2"]
        assert auth["metadata"]["role_name"] == "r"
        assert client.auth.token.lookup_self()["data"]["path"] == f"auth/{approle}/login"

    def test_renewal_stops_at_the_maximum(self, root: hvac.Client, server: Any, approle: str, connect: Connect) -> None:
        root.auth.approle.create_or_update_approle("r", token_ttl="5m", token_max_ttl="10m", mount_point=approle)
        client = connect(server.address, "")
        self._login(root, client, approle)
        assert client.auth.token.renew_self(increment="1h")["auth"]["lease_duration"] <= 600

    def test_wrong_credentials(self, root: hvac.Client, server: Any, approle: str, connect: Connect) -> None:
        root.auth.approle.create_or_update_approle("r", mount_point=approle)
        role_id = root.auth.approle.read_role_id("r", mount_point=approle)["data"]["role_id"]
        client = connect(server.address, "")
        for wrong in ((role_id, "wrong"), ("wrong", "wrong"), (role_id, "")):
            with pytest.raises(vault_errors.InvalidRequest):
                client.auth.approle.login(*wrong, mount_point=approle)

    def test_a_secret_id_is_used_up(self, root: hvac.Client, server: Any, approle: str, connect: Connect) -> None:
        root.auth.approle.create_or_update_approle("r", secret_id_num_uses=2, mount_point=approle)
        role_id = root.auth.approle.read_role_id("r", mount_point=approle)["data"]["role_id"]
        made = root.auth.approle.generate_secret_id("r", mount_point=approle)["data"]
        assert made["secret_id_num_uses"] == 2
        client = connect(server.address, "")
        for _ in range(2):
            client.auth.approle.login(role_id, made["secret_id"], mount_point=approle)
        with pytest.raises(vault_errors.InvalidRequest):
            client.auth.approle.login(role_id, made["secret_id"], mount_point=approle)

    def test_a_secret_id_ends(self, root: hvac.Client, server: Any, approle: str, connect: Connect, wait: Wait) -> None:
        root.auth.approle.create_or_update_approle("r", secret_id_ttl="1s", mount_point=approle)
        role_id = root.auth.approle.read_role_id("r", mount_point=approle)["data"]["role_id"]
        made = root.auth.approle.generate_secret_id("r", mount_point=approle)["data"]
        client = connect(server.address, "")
        client.auth.approle.login(role_id, made["secret_id"], mount_point=approle)

        def ended() -> bool:
            try:
                client.auth.approle.login(role_id, made["secret_id"], mount_point=approle)
            except vault_errors.InvalidRequest:
                return True
            return False

        wait(ended, "the secret id has ended", 10)

    def test_secret_ids_are_looked_up_and_destroyed(
        self, root: hvac.Client, server: Any, approle: str, connect: Connect
    ) -> None:
        api = root.auth.approle
        api.create_or_update_approle("r", mount_point=approle)
        role_id = api.read_role_id("r", mount_point=approle)["data"]["role_id"]
        made = api.generate_secret_id("r", metadata={"host": "a"}, mount_point=approle)["data"]
        found = api.read_secret_id("r", made["secret_id"], mount_point=approle)["data"]
        assert found["metadata"] == {"host": "a"}
        accessors = api.list_secret_id_accessors("r", mount_point=approle)["data"]["keys"]
        assert accessors == [made["secret_id_accessor"]]
        api.destroy_secret_id("r", made["secret_id"], mount_point=approle)
        with pytest.raises(vault_errors.InvalidRequest):
            connect(server.address, "").auth.approle.login(role_id, made["secret_id"], mount_point=approle)

    def test_a_deleted_role_is_gone(self, root: hvac.Client, server: Any, approle: str, connect: Connect) -> None:
        root.auth.approle.create_or_update_approle("r", mount_point=approle)
        client = connect(server.address, "")
        role_id = root.auth.approle.read_role_id("r", mount_point=approle)["data"]["role_id"]
        made = root.auth.approle.generate_secret_id("r", mount_point=approle)["data"]
        root.auth.approle.delete_role("r", mount_point=approle)
        with pytest.raises(vault_errors.InvalidPath):
            root.auth.approle.read_role("r", mount_point=approle)
        with pytest.raises(vault_errors.InvalidRequest):
            client.auth.approle.login(role_id, made["secret_id"], mount_point=approle)
