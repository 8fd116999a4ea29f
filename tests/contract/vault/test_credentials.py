"""Secret ids from files and wrapping tokens: good, used before, wrong and revoked. The stand-in wraps nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac import exceptions as vault_errors
from pydantic import SecretStr

from softman.adapters.vault_credentials import unwrap_secret_ids
from softman.adapters.vault_layout import APPROLE_MOUNT, Role
from softman.adapters.vault_session import VaultSession
from softman.adapters.vault_setup import set_up_vault
from softman.errors import Forbidden, InvalidInput
from softman.settings import VaultCredential, VaultSettings

Connect = Callable[[str, str], hvac.Client]


@pytest.fixture
def settings(server: Any, unique: str) -> VaultSettings:
    found = server.set_up(server.settings(mount=f"s-{unique}", own_mount=f"o-{unique}", cache_seconds=0))
    assert isinstance(found, VaultSettings)
    return found


@pytest.fixture
def real_settings(real_server: Any, unique: str) -> VaultSettings:
    found = real_server.set_up(real_server.settings(mount=f"s-{unique}", own_mount=f"o-{unique}", cache_seconds=0))
    assert isinstance(found, VaultSettings)
    return found


def _works(settings: VaultSettings, role: Role = Role.DASHBOARD) -> None:
    session = VaultSession(settings, role)
    try:
        assert session.names(settings.own_mount, "repositories", "the repositories") == []
    finally:
        session.close()


def _with(settings: VaultSettings, **credential: Any) -> VaultSettings:
    chosen = VaultCredential(role_id=settings.dashboard.role_id, **credential)
    return settings.model_copy(update={"dashboard": chosen})


def _wrapped(server: Any, settings: VaultSettings, role: Role, seconds: int = 60) -> str:
    made = set_up_vault(settings, SecretStr(server.root_token), secret_ids=[role], wrap=seconds)
    assert made.access[0].wrapped == seconds
    return made.access[0].secret_id.get_secret_value()


class TestFiles:
    def test_a_file_is_read_at_each_login(self, settings: VaultSettings, tmp_path: Path) -> None:
        file = tmp_path / "secret-id"
        chosen = _with(settings, secret_id_file=file)
        file.write_text("wrong\n")
        with pytest.raises(Forbidden, match="SOFTMAN_VAULT__DASHBOARD__SECRET_ID"):
            _works(chosen)
        file.write_text(settings.dashboard.secret_id.get_secret_value() + "\n")
        _works(chosen)

    @pytest.mark.parametrize("content", [None, " \n", b"\xff\xff"])
    def test_a_file_without_a_secret_id(
        self, settings: VaultSettings, tmp_path: Path, content: str | bytes | None
    ) -> None:
        file = tmp_path / "secret-id"
        if content is not None:
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(InvalidInput, match="secret-id"):
            _works(_with(settings, secret_id_file=file))

    def test_two_places_are_one_too_many(self, settings: VaultSettings, tmp_path: Path) -> None:
        chosen = _with(settings, secret_id=SecretStr("a"), secret_id_file=tmp_path)
        with pytest.raises(InvalidInput, match="SECRET_ID and SECRET_ID_FILE, not several"):
            _works(chosen)

    def test_a_revoked_secret_id(self, server: Any, settings: VaultSettings, root: hvac.Client) -> None:
        made = set_up_vault(settings, SecretStr(server.root_token), secret_ids=[Role.DASHBOARD]).access[0]
        chosen = _with(settings, secret_id=made.secret_id)
        _works(chosen)
        root.auth.approle.destroy_secret_id_accessor("dashboard", made.accessor, mount_point=APPROLE_MOUNT)
        with pytest.raises(Forbidden, match="it does not accept"):
            _works(chosen)

    def test_an_expired_secret_id(self, settings: VaultSettings, root: hvac.Client, wait: Callable[..., None]) -> None:
        made: Any = root.adapter.post(f"/v1/auth/{APPROLE_MOUNT}/role/dashboard/secret-id", json={"ttl": "2s"})
        chosen = _with(settings, secret_id=SecretStr(made["data"]["secret_id"]))
        _works(chosen)

        def expired() -> bool:
            try:
                _works(chosen)
            except Forbidden:
                return True
            return False

        wait(expired, "the secret id has expired", 20)


class TestWrapped:
    def test_it_is_used_once_and_serves_every_login(self, real_server: Any, real_settings: VaultSettings) -> None:
        token = _wrapped(real_server, real_settings, Role.DASHBOARD)
        chosen = _with(real_settings, secret_id_wrapped=SecretStr(token))
        unwrap_secret_ids(chosen)
        _works(chosen)
        _works(chosen)
        assert token not in repr(chosen)

    def test_a_new_token_in_the_file_is_used_at_the_next_login(
        self, real_server: Any, real_settings: VaultSettings, tmp_path: Path
    ) -> None:
        file = tmp_path / "wrapped"
        chosen = _with(real_settings, secret_id_wrapped_file=file)
        for _ in range(2):
            file.write_text(_wrapped(real_server, real_settings, Role.DASHBOARD))
            _works(chosen)

    def test_somebody_else_was_first(
        self, real_server: Any, real_settings: VaultSettings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        token = _wrapped(real_server, real_settings, Role.DASHBOARD)
        thief: Any = hvac.Client(real_server.address, token=token)
        stolen = thief.sys.unwrap()["data"]["secret_id"]
        thief.adapter.close()
        with pytest.raises(Forbidden, match=r"used before, or has expired\..*revoke it now") as caught:
            _works(_with(real_settings, secret_id_wrapped=SecretStr(token)))
        shown = str(caught.value) + capsys.readouterr().out
        assert "vault secret id not unwrapped" in shown
        assert token not in shown
        assert stolen not in shown

    def test_one_of_another_role_is_not_used(self, real_server: Any, real_settings: VaultSettings) -> None:
        token = _wrapped(real_server, real_settings, Role.PUBLISHER)
        with pytest.raises(Forbidden, match="does not hold a secret id of this role"):
            _works(_with(real_settings, secret_id_wrapped=SecretStr(token)))
        thief: Any = hvac.Client(real_server.address, token=token)
        assert thief.sys.unwrap()["data"]["secret_id"], "it was left as it was"
        thief.adapter.close()

    def test_no_token_at_all(self, real_settings: VaultSettings) -> None:
        with pytest.raises(Forbidden, match="used before, or has expired"):
            unwrap_secret_ids(_with(real_settings, secret_id_wrapped=SecretStr("nonsense")))

    def test_threads_use_it_once(self, real_server: Any, real_settings: VaultSettings) -> None:
        token = SecretStr(_wrapped(real_server, real_settings, Role.DASHBOARD))
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(_works, _with(real_settings, secret_id_wrapped=token)) for _ in range(4)]:
                done.result()


class TestWhatRolesMustNot:
    """Each role really tries, with its own login."""

    @pytest.mark.parametrize(
        ("role", "mount", "path"),
        [
            (Role.PUBLISHER, "own", "signing/x"),
            (Role.DASHBOARD, "own", "signing/x"),
            (Role.ADMIN, "own", "signing/x"),
            (Role.DASHBOARD, "owners", "alice/cvmfs_keys/x"),
            (Role.ADMIN, "owners", "alice/cvmfs_keys/x"),
            (Role.DASHBOARD, "owners", "groups/bioteam/cvmfs_keys/x"),
            (Role.PUBLISHER, "owners", "alice/passwords"),
            (Role.STRATUM0, "owners", "alice/passwords"),
        ],
    )
    def test_read(self, settings: VaultSettings, root: hvac.Client, role: Role, mount: str, path: str) -> None:
        place = settings.own_mount if mount == "own" else settings.mount
        root.secrets.kv.v2.create_or_update_secret(path, {"key": "secret"}, mount_point=place)
        session = VaultSession(settings, role)
        with pytest.raises(Forbidden):
            session.read(place, path, "it")
        session.close()

    @pytest.mark.parametrize("role", [Role.PUBLISHER, Role.DASHBOARD, Role.ADMIN])
    @pytest.mark.parametrize("path", ["repositories/x", "public/x", "signing/x"])
    def test_write(self, settings: VaultSettings, root: hvac.Client, role: Role, path: str) -> None:
        session = VaultSession(settings, role)
        with pytest.raises(Forbidden):
            session.write(settings.own_mount, path, {"key": "mine"}, base=0, what="it")
        session.close()
        with pytest.raises(vault_errors.InvalidPath):
            root.secrets.kv.v2.read_secret_version(path, mount_point=settings.own_mount, raise_on_deleted_version=True)

    @pytest.mark.parametrize("role", Role)
    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("sys/policies/acl/softman-group-mine", {"policy": 'path "*" { capabilities = ["read"] }'}),
            ("auth/approle/role/stratum0/secret-id", {}),
            ("auth/approle/role/mine", {"token_policies": ["softman-stratum0"]}),
            ("auth/token/create", {"policies": ["softman-stratum0"]}),
            ("sys/mounts/mine", {"type": "kv"}),
        ],
    )
    def test_gain_more(
        self, server: Any, settings: VaultSettings, connect: Connect, *, role: Role, path: str, body: dict[str, Any]
    ) -> None:
        credential = getattr(settings, role.value)
        client = connect(server.address, "")
        client.auth.approle.login(credential.role_id, credential.secret_id.get_secret_value())
        with pytest.raises(vault_errors.Forbidden):
            client.adapter.post(f"/v1/{path}", json=body)

    def test_the_admin_ends_a_credential(self, server: Any, settings: VaultSettings, connect: Connect) -> None:
        made = set_up_vault(settings, SecretStr(server.root_token), secret_ids=[Role.STRATUM0]).access[0]
        admin = connect(server.address, "")
        admin.auth.approle.login(settings.admin.role_id, settings.admin.secret_id.get_secret_value())
        listed: Any = admin.auth.approle.list_secret_id_accessors("stratum0")
        assert made.accessor in listed["data"]["keys"]
        admin.auth.approle.destroy_secret_id_accessor("stratum0", made.accessor)
        with pytest.raises(vault_errors.InvalidRequest):
            connect(server.address, "").auth.approle.login(made.role_id, made.secret_id.get_secret_value())
