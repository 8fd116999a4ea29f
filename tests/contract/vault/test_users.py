"""Users of a real server read their own keys with the token of their login, and nobody else's."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hvac import exceptions as vault_errors
from pydantic import SecretStr

from softman.adapters.vault import VaultKeys
from softman.adapters.vault_layout import Role
from softman.adapters.vault_policies import setup_policy_text
from softman.adapters.vault_session import VaultSession
from softman.adapters.vault_setup import set_up_vault
from softman.errors import Forbidden, InvalidInput
from softman.names import Kind, Owner, RepositoryName
from softman.settings import VaultSettings
from tests.contract.vault.conftest import REAL_PROGRAM

Login = Callable[..., hvac.Client]
ISSUER = "https://login.example.org"
SUBJECT = "auth0|alice@example.org"
ALICE = RepositoryName("alice", "example.org")
BIOTEAM = RepositoryName("bioteam", "example.org")
KEYS = {"publicKey": "p", "certificateKey": "c", "gatewayKey": "plain_text id secret"}
PATH = f"{SUBJECT}/cvmfs_keys/{ALICE}"
GROUP_PATH = f"groups/bioteam/cvmfs_keys/{BIOTEAM}"


@pytest.fixture(scope="module")
def signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def settings(real_server: Any, unique: str, signing_key: rsa.RSAPrivateKey) -> VaultSettings:
    public = signing_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    users = {"mount": f"j-{unique}", "issuer": ISSUER, "public_keys": [public.decode()], "audiences": ["vault"]}
    found = real_server.settings(mount=f"s-{unique}", own_mount=f"o-{unique}", users=users)
    assert isinstance(found, VaultSettings)
    return found


@pytest.fixture
def filled(real_server: Any, settings: VaultSettings) -> VaultSettings:
    """A server with alice's keys and those of a group, set up again after the group came."""
    made = real_server.set_up(settings)
    session = VaultSession(made, Role.STRATUM0)
    keys = VaultKeys(session, made)
    keys.write_owner_keys(Owner("alice", SUBJECT), ALICE, KEYS)
    keys.write_owner_keys(Owner("alice", SUBJECT, Kind.GROUP, "bioteam"), BIOTEAM, KEYS)
    session.close()
    set_up_vault(settings, SecretStr(real_server.root_token), secret_ids=())
    assert isinstance(made, VaultSettings)
    return made


@pytest.fixture
def token(signing_key: rsa.RSAPrivateKey) -> Callable[..., str]:
    """Tokens of a provider."""

    def make(key: rsa.RSAPrivateKey = signing_key, **claims: object) -> str:
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": "vault", "sub": SUBJECT, "groups": [], "iat": now, "exp": now + 600}
        head, body = _encoded({"alg": "RS256", "typ": "JWT"}), _encoded({**usual, **claims})
        signature = key.sign(f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{head}.{body}.{_base64url(signature)}"

    return make


@pytest.fixture
def login(real_server: Any, filled: VaultSettings, token: Callable[..., str]) -> Iterator[Login]:
    """Log in to the server with a token of these claims."""
    made: list[hvac.Client] = []

    def enter(**claims: object) -> hvac.Client:
        made.append(hvac.Client(real_server.address, token=""))
        made[-1].auth.jwt.jwt_login("softman-user", token(**claims), path=filled.users.mount)
        return made[-1]

    yield enter
    for client in made:
        client.adapter.close()


def _encoded(part: dict[str, object]) -> str:
    return _base64url(json.dumps(part).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _read(client: hvac.Client, settings: VaultSettings, path: str) -> Any:
    read = client.secrets.kv.v2.read_secret_version
    return read(path, mount_point=settings.mount, raise_on_deleted_version=True)["data"]["data"]


def test_users_read_their_own_keys(login: Login, filled: VaultSettings) -> None:
    alice = login()
    assert _read(alice, filled, PATH) == KEYS
    listed = alice.secrets.kv.v2.list_secrets(f"{SUBJECT}/cvmfs_keys", mount_point=filled.mount)
    assert listed["data"]["keys"] == [str(ALICE)]


def test_but_not_change_them(login: Login, filled: VaultSettings) -> None:
    with pytest.raises(vault_errors.Forbidden):
        login().secrets.kv.v2.create_or_update_secret(PATH, {"gatewayKey": "mine"}, mount_point=filled.mount)


@pytest.mark.parametrize("subject", ["bob", "+", "*", "auth0|alice@example.or*", "a/../auth0|alice@example.org"])
def test_nobody_elses(login: Login, filled: VaultSettings, subject: str) -> None:
    """A subject that is a wildcard opens nothing: OpenBao does not put it into a path, and says so with 400."""
    client = login(sub=subject)
    for path in (PATH, GROUP_PATH):
        with pytest.raises((vault_errors.Forbidden, vault_errors.InvalidRequest), match=r"denied|Forbidden"):
            _read(client, filled, path)


def test_members_read_the_keys_of_their_group(login: Login, filled: VaultSettings) -> None:
    assert _read(login(sub="bob", groups=["x", "bioteam"]), filled, GROUP_PATH) == KEYS
    with pytest.raises(vault_errors.Forbidden):
        _read(login(sub="bob", groups=["bio", "bioteam2"]), filled, GROUP_PATH)


@pytest.mark.parametrize("place", ["own", "owners"])
def test_nothing_else_is_open_to_a_user(login: Login, filled: VaultSettings, place: str) -> None:
    client = login(groups=["bioteam"])
    mount, folder = (filled.own_mount, "repositories") if place == "own" else (filled.mount, "")
    with pytest.raises(vault_errors.Forbidden):
        client.secrets.kv.v2.list_secrets(folder, mount_point=mount)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"},
        {"iss": "https://evil.example.org"},
        {"exp": 1_700_000_000},
        {"sub": None},
        {"sub": ""},
    ],
)
def test_a_token_that_is_not_for_us(login: Login, claims: dict[str, object]) -> None:
    with pytest.raises((vault_errors.InvalidRequest, vault_errors.InternalServerError)):
        login(**claims)


def test_a_token_that_somebody_else_signed(login: Login) -> None:
    with pytest.raises(vault_errors.InvalidRequest):
        login(key=rsa.generate_private_key(65537, 2048))


def test_the_command_in_the_guide(
    real_server: Any, filled: VaultSettings, token: Callable[..., str], tmp_path: Path
) -> None:
    """As ``docs/vault.md`` says it; the token does not appear on the command line."""
    assert REAL_PROGRAM is not None
    command = [REAL_PROGRAM, "write", "-field=token", f"auth/{filled.users.mount}/login", "role=softman-user", "jwt=-"]
    addresses = {f"{name}_ADDR": real_server.address for name in ("BAO", "VAULT")}
    environment = {**addresses, "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, input=token(), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    client = hvac.Client(real_server.address, token=done.stdout.strip())
    assert _read(client, filled, PATH) == KEYS
    client.adapter.close()


class TestSetup:
    def test_it_is_idempotent(self, real_server: Any, filled: VaultSettings) -> None:
        done = set_up_vault(filled, SecretStr(real_server.root_token), secret_ids=())
        assert [change.what for change in done.changes] == []

    def test_a_dry_run_before_says_the_same(self, real_server: Any, settings: VaultSettings) -> None:
        planned = set_up_vault(settings, SecretStr(real_server.root_token), dry_run=True)
        assert f"enable the auth method jwt at {settings.users.mount}/" in {each.what for each in planned.changes}
        done = set_up_vault(settings, SecretStr(real_server.root_token), secret_ids=())
        assert {each.what for each in done.changes} == {each.what for each in planned.changes}

    def test_a_group_is_added_by_running_it_again(self, real_server: Any, filled: VaultSettings) -> None:
        session = VaultSession(filled, Role.STRATUM0)
        owner, name = Owner("bob", "bob", Kind.GROUP, "chemists"), RepositoryName("chemists", "example.org")
        VaultKeys(session, filled).write_owner_keys(owner, name, KEYS)
        session.close()
        done = set_up_vault(filled, SecretStr(real_server.root_token), secret_ids=())
        assert [change.what for change in done.changes] == [
            "write the policy softman-group-chemists",
            "make the identity group softman-group-chemists",
            "let logins that name the group chemists into softman-group-chemists",
        ]

    def test_without_an_audience_it_is_refused(self, real_server: Any, settings: VaultSettings) -> None:
        users = settings.users.model_copy(update={"audiences": ()})
        with pytest.raises(InvalidInput, match="AUDIENCES"):
            set_up_vault(settings.model_copy(update={"users": users}), SecretStr(real_server.root_token))

    def test_its_own_policy_is_enough(self, real_server: Any, filled: VaultSettings, unique: str) -> None:
        """What ``policies/setup.hcl`` allows does for a second run, and is no way around it."""
        root: Any = hvac.Client(real_server.address, token=real_server.root_token)
        root.sys.create_or_update_acl_policy(f"setup-{unique}", setup_policy_text(filled))
        admin = SecretStr(root.auth.token.create(policies=[f"setup-{unique}"], ttl="5m")["auth"]["client_token"])
        root.sys.create_or_update_acl_policy("softman-publisher", 'path "*" { capabilities = ["read"] }')
        fresh = filled.model_copy(update={"own_mount": f"n-{unique}"})
        root.sys.create_or_update_acl_policy(f"setup-{unique}", setup_policy_text(fresh))
        done = set_up_vault(fresh, admin, secret_ids=[Role.PUBLISHER])
        assert "change the policy softman-publisher" in {change.what for change in done.changes}
        assert f"enable the secrets engine kv version 2 at n-{unique}/" in {change.what for change in done.changes}
        assert len(done.access) == 1
        root.auth.token.revoke(admin.get_secret_value())
        root.adapter.close()
        with pytest.raises(Forbidden):
            set_up_vault(fresh, admin)


class TestNamespaces:
    def test_everything_happens_in_the_namespace(self, real_server: Any, unique: str) -> None:
        root: Any = hvac.Client(real_server.address, token=real_server.root_token)
        root.adapter.post(f"/v1/sys/namespaces/{unique}")
        settings = real_server.set_up(real_server.settings(namespace=unique))
        session = VaultSession(settings, Role.STRATUM0)
        VaultKeys(session, settings).write_owner_keys(Owner("alice", "alice"), ALICE, KEYS)
        session.close()
        inside: Any = hvac.Client(real_server.address, token=real_server.root_token, namespace=unique)
        assert _read(inside, settings, f"alice/cvmfs_keys/{ALICE}") == KEYS
        elsewhere = VaultSession(settings.model_copy(update={"namespace": ""}), Role.STRATUM0)
        with pytest.raises(Forbidden):
            elsewhere.names("softman", "repositories", "the repositories")
        for client in (root, inside):
            client.adapter.close()
