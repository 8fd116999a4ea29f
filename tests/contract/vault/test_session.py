"""Logging in, renewing, logging in again, and what each failure looks like. Server and client share a clock to turn."""

import logging
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import hvac
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from softman.adapters.registry import VaultRegistry
from softman.adapters.vault import VaultKeys
from softman.adapters.vault_layout import Role, record_path, signing_path
from softman.adapters.vault_session import VaultSession
from softman.adapters.vault_setup import TOKEN_MAX_TTL, TOKEN_TTL, set_up_vault
from softman.errors import Conflict, Corrupt, Forbidden, InvalidInput, NotFound, PermanentError, ServiceUnavailable
from softman.log import configure_logging
from softman.model import RegistryRecord
from softman.names import Owner, RepositoryName
from softman.settings import VaultCredential, VaultSettings
from softman.standalone.vault_standin.api import StandIn
from softman.standalone.vault_standin.server import StandInServer

ALICE = RepositoryName("alice", "example.org")
USER = Owner("alice", "alice")
SIGNING = {"privateKey": "the private key", "masterKey": "the master key"}
ROOT = "root-of-test"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Stand:
    """The stand-in within this process, set up for softman."""

    def __init__(self, clock: Clock, connect: Callable[..., hvac.Client]) -> None:
        self.clock = clock
        self.standin = StandIn(root_token=ROOT, clock=clock)
        self.server = StandInServer(self.standin, 0)
        self.settings = VaultSettings(address=self.server.address, cache_seconds=60)
        self._connect = connect
        self._sessions: list[VaultSession] = []
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        access = {found.role: found for found in set_up_vault(self.settings, SecretStr(ROOT)).access}
        credentials = {
            role.value: VaultCredential(role_id=found.role_id, secret_id=found.secret_id)
            for role, found in access.items()
        }
        self.settings = self.settings.model_copy(update=credentials)

    @property
    def root(self) -> Any:
        return self._connect(self.server.address, ROOT)

    def session(self, role: Role = Role.STRATUM0, **changes: Any) -> VaultSession:
        self._sessions.append(VaultSession(self.settings.model_copy(update=changes), role, clock=self.clock))
        return self._sessions[-1]

    def keys(self, session: VaultSession) -> VaultKeys:
        return VaultKeys(session, self.settings, clock=self.clock)

    def stop(self) -> None:
        for session in self._sessions:
            session.close()
        if self._thread.is_alive():
            self.server.shutdown()
            self._thread.join()
        self.server.server_close()


@pytest.fixture
def stand(connect: Callable[..., hvac.Client]) -> Iterator[Stand]:
    made = Stand(Clock(), connect)
    yield made
    made.stop()


def _token(session: VaultSession) -> str:
    return session._client.token


class TestLogin:
    def test_a_token_is_kept_while_it_is_good(self, stand: Stand) -> None:
        session = stand.session()
        session.read("softman", "public/a", "a")
        first = _token(session)
        stand.clock.advance(TOKEN_TTL / 3)
        session.read("softman", "public/a", "a")
        assert _token(session) == first

    def test_it_is_renewed_at_half_its_time(self, stand: Stand) -> None:
        session = stand.session()
        session.read("softman", "public/a", "a")
        first = _token(session)
        stand.clock.advance(TOKEN_TTL * 0.6)
        session.read("softman", "public/a", "a")
        assert _token(session) == first
        assert stand.root.auth.token.lookup(first)["data"]["ttl"] == TOKEN_TTL

    def test_near_its_maximum_a_new_one_is_taken_in_time(self, stand: Stand) -> None:
        session = stand.session()
        seen = set()
        for _ in range(int(TOKEN_MAX_TTL / TOKEN_TTL * 2) + 4):
            session.read("softman", "public/a", "a")
            seen.add(_token(session))
            stand.clock.advance(TOKEN_TTL * 0.55)
        assert len(seen) == 2

    def test_after_it_expired_there_is_a_new_login(self, stand: Stand) -> None:
        session = stand.session()
        session.read("softman", "public/a", "a")
        first = _token(session)
        stand.clock.advance(TOKEN_TTL + 1)
        session.read("softman", "public/a", "a")
        assert _token(session) != first

    def test_after_it_was_revoked_there_is_a_new_login(self, stand: Stand) -> None:
        session = stand.session()
        session.write("softman", "public/a", {"n": 1}, base=0, what="a")
        first = _token(session)
        stand.root.auth.token.revoke(first)
        assert session.write("softman", "public/a", {"n": 2}, base=1, what="a") == 2
        assert _token(session) != first

    def test_a_refusal_by_policy_is_no_reason_to_log_in(self, stand: Stand) -> None:
        session = stand.session(Role.PUBLISHER)
        for _ in range(2):
            with pytest.raises(Forbidden, match="as publisher"):
                session.read("softman", signing_path(ALICE), "the signing keys")
        logins = [token for token in stand.standin._state.tokens.values() if token.path == "auth/approle/login"]
        assert len(logins) == 1

    def test_threads_share_one_login(self, stand: Stand) -> None:
        session = stand.session()
        barrier = threading.Barrier(8)
        failures: list[BaseException] = []

        def read() -> None:
            try:
                barrier.wait(timeout=60)
                session.read("softman", "public/a", "a")
            except BaseException as exc:  # noqa: BLE001 - shown by the assertion below
                failures.append(exc)

        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert failures == []
        logins = [token for token in stand.standin._state.tokens.values() if token.path == "auth/approle/login"]
        assert len(logins) == 1

    def test_a_forked_child_has_a_connection_and_a_login_of_its_own(self, stand: Stand) -> None:
        session = stand.session()
        session.read("softman", "public/a", "a")
        parent, first = session._client, _token(session)
        session._pid = -1  # as after a fork
        session.read("softman", "public/a", "a")
        assert session._client is not parent
        assert _token(session) != first
        parent.adapter.close()


class TestFailures:
    def test_wrong_credentials(self, stand: Stand) -> None:
        wrong = VaultCredential(role_id=stand.settings.stratum0.role_id, secret_id=SecretStr("wrong-secret"))
        with pytest.raises(Forbidden, match="SOFTMAN_VAULT__STRATUM0__ROLE_ID") as caught:
            stand.session(stratum0=wrong).read("softman", "public/a", "a")
        assert "wrong-secret" not in "".join(traceback.format_exception(caught.value))

    def test_no_credentials(self, stand: Stand) -> None:
        with pytest.raises(Forbidden, match=r"set SOFTMAN_VAULT__PUBLISHER__ROLE_ID and .*SECRET_ID"):
            stand.session(Role.PUBLISHER, publisher=VaultCredential()).read("softman", "public/a", "a")

    def test_sealed(self, stand: Stand) -> None:
        session = stand.session()
        session.read("softman", "public/a", "a")
        stand.root.sys.seal()
        with pytest.raises(ServiceUnavailable, match="sealed; an administrator has to unseal it"):
            session.read("softman", "public/a", "the box")
        with pytest.raises(ServiceUnavailable, match="sealed"):
            stand.session().read("softman", "public/a", "the box")
        stand.root.sys.submit_unseal_key(stand.standin.unseal_key)
        assert session.read("softman", "public/a", "a").values is None

    def test_down(self, stand: Stand) -> None:
        stand.stop()
        with pytest.raises(ServiceUnavailable, match="does not answer; does it run"):
            stand.session().read("softman", "public/a", "a")

    def test_a_mount_that_is_not_there(self, stand: Stand) -> None:
        stand.root.sys.disable_secrets_engine("softman")
        with pytest.raises(NotFound, match="is the mount enabled"):
            stand.session().read("softman", "public/a", "a")

    def test_a_conflict(self, stand: Stand) -> None:
        session = stand.session()
        session.write("softman", "public/a", {}, base=0, what="a")
        with pytest.raises(Conflict, match="cannot write the box as stratum0: somebody else wrote it first"):
            session.write("softman", "public/a", {}, base=0, what="the box")

    @pytest.mark.parametrize("address", ["nonsense", "http://", "ftp://127.0.0.1/"])
    def test_an_address_that_is_none(self, stand: Stand, address: str) -> None:
        with pytest.raises(InvalidInput, match="SOFTMAN_VAULT__ADDRESS"):
            stand.session(address=address).read("softman", "public/a", "a")

    def test_something_else_at_the_address(self, stand: Stand) -> None:
        with _web_page() as address, pytest.raises(ServiceUnavailable, match="not Vault's"):
            stand.session(address=address).read("softman", "public/a", "a")

    def test_environment_and_home_are_not_read(
        self, stand: Stand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / ".vault-token").write_text(ROOT)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("VAULT_TOKEN", ROOT)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        session = stand.session(Role.PUBLISHER)
        assert _token(session) == ""
        session.names("softman", "repositories", "the repositories")
        assert _token(session) not in ("", ROOT)


@contextmanager
def _web_page() -> Iterator[str]:
    """A web server that answers everything with a page."""

    class Page(BaseHTTPRequestHandler):
        def _page(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

        do_GET = do_POST = _page  # noqa: N815 - named by the base class

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class TestCertificates:
    @pytest.fixture
    def ca_file(self, stand: Stand, tmp_path: Path) -> Path:
        """Puts TLS in front of the stand-in; the file holds its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vault of a test")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pem, key_pem = tmp_path / "ca.pem", tmp_path / "key.pem"
        pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_pem.write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key_pem)
        stand.server.socket = context.wrap_socket(stand.server.socket, server_side=True)
        return pem

    def test_the_right_authority_is_trusted(self, stand: Stand, ca_file: Path) -> None:
        address = stand.server.address.replace("http:", "https:")
        assert stand.session(address=address, ca_file=ca_file).read("softman", "public/a", "a").values is None

    @pytest.mark.usefixtures("ca_file")
    def test_an_unknown_one_is_not(self, stand: Stand) -> None:
        address = stand.server.address.replace("http:", "https:")
        with pytest.raises(PermanentError, match="certificate is not trusted; is SOFTMAN_VAULT__CA_FILE"):
            stand.session(address=address).read("softman", "public/a", "a")

    def test_a_file_that_is_none(self, stand: Stand, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="CA_FILE"):
            stand.session(ca_file=tmp_path / "nowhere")


class TestWhatIsStored:
    def test_keys_are_used_again_for_a_while(self, stand: Stand) -> None:
        writer, reader = stand.keys(stand.session()), stand.keys(stand.session(Role.PUBLISHER))
        assert reader.read_owner_keys(USER, ALICE) is None
        writer.write_owner_keys(USER, ALICE, {"publicKey": "1"})
        assert reader.read_owner_keys(USER, ALICE) == {"publicKey": "1"}, "nothing there is never remembered"
        writer.write_owner_keys(USER, ALICE, {"publicKey": "2"})
        assert writer.read_owner_keys(USER, ALICE) == {"publicKey": "2"}
        stand.clock.advance(59)
        assert reader.read_owner_keys(USER, ALICE) == {"publicKey": "1"}
        stand.clock.advance(2)
        assert reader.read_owner_keys(USER, ALICE) == {"publicKey": "2"}

    def test_keys_changed_by_hand_are_written_back(self, stand: Stand) -> None:
        keys = stand.keys(stand.session())
        keys.write_owner_keys(USER, ALICE, {"publicKey": "1"})
        path = f"alice/cvmfs_keys/{ALICE}"
        stand.root.secrets.kv.v2.create_or_update_secret(path, {"publicKey": "by hand"}, mount_point="secrets")
        keys.write_owner_keys(USER, ALICE, {"publicKey": "1"})
        stand.root.secrets.kv.v2.delete_latest_version_of_secret(path, mount_point="secrets")
        keys.write_owner_keys(USER, ALICE, {"publicKey": "1"})
        stored = stand.root.secrets.kv.v2.read_secret_version(
            path, mount_point="secrets", raise_on_deleted_version=True
        )["data"]
        assert (stored["data"], stored["metadata"]["version"]) == ({"publicKey": "1"}, 4)

    def test_deleted_signing_keys_are_not_made_anew(self, stand: Stand) -> None:
        stand.keys(stand.session()).create_signing(ALICE, SIGNING)
        stand.root.secrets.kv.v2.delete_latest_version_of_secret(signing_path(ALICE), mount_point="softman")
        keys = stand.keys(stand.session())
        assert keys.read_signing(ALICE) is None
        with pytest.raises(NotFound, match=r"undelete softman/signing/alice\.example\.org"):
            keys.create_signing(ALICE, SIGNING)

    def test_damaged_keys_are_named(self, stand: Stand) -> None:
        values = {"privateKey": 7, "masterKey": "secret part"}
        stand.root.secrets.kv.v2.create_or_update_secret(signing_path(ALICE), values, mount_point="softman")
        with pytest.raises(Corrupt, match="'privateKey'") as caught:
            stand.keys(stand.session()).read_signing(ALICE)
        assert "secret part" not in str(caught.value)

    def test_a_record_deleted_by_hand_can_be_put_again(self, stand: Stand) -> None:
        registry = VaultRegistry(stand.session(), stand.settings)
        registry.put(RegistryRecord(ALICE, USER))
        stand.root.secrets.kv.v2.delete_latest_version_of_secret(record_path(ALICE), mount_point="softman")
        assert registry.get(ALICE) is None
        again = registry.put(RegistryRecord(ALICE, USER))
        assert again.version == 2
        assert registry.get(ALICE) == again

    def test_what_is_no_repository_is_not_listed(self, stand: Stand) -> None:
        registry = VaultRegistry(stand.session(), stand.settings)
        registry.put(RegistryRecord(ALICE, USER))
        for name in ("notes", "old/bob.example.org"):
            stand.root.secrets.kv.v2.create_or_update_secret(f"repositories/{name}", {}, mount_point="softman")
        assert registry.names() == [ALICE]


def test_no_secret_is_printed_logged_or_raised(stand: Stand, capfd: pytest.CaptureFixture[str]) -> None:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    configure_logging(level="DEBUG")
    try:
        session, publisher = stand.session(), stand.session(Role.PUBLISHER)
        keys = stand.keys(session)
        keys.create_signing(ALICE, SIGNING)
        keys.create_signing(ALICE, SIGNING)
        texts = [
            repr(session),
            repr(keys),
            repr(stand.settings),
            repr(session.read("softman", signing_path(ALICE), "k")),
        ]
        failing: list[Callable[[], object]] = [
            lambda: stand.keys(publisher).create_signing(ALICE, SIGNING),
            lambda: session.write("softman", signing_path(ALICE), SIGNING, base=0, what="the keys"),
            lambda: session.write("nowhere", "a", SIGNING, base=0, what="the keys"),
        ]
        for call in failing:
            with pytest.raises((Forbidden, Conflict, NotFound)) as caught:
                call()
            texts.append("".join(traceback.format_exception(caught.value)))
        tokens = [_token(session), _token(publisher)]
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
    captured = capfd.readouterr()
    assert "vault login" in captured.err
    credentials = (stand.settings.stratum0, stand.settings.publisher)
    secrets = [*SIGNING.values(), *tokens, *(credential.secret_id.get_secret_value() for credential in credentials)]
    assert all(secrets)
    everything = "\n".join([*texts, captured.out, captured.err])
    assert [secret for secret in secrets if secret in everything] == []
