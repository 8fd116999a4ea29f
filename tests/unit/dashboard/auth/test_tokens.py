"""API tokens: a good one is accepted, and each hostile one is refused with the reason."""

import base64
import hmac
import json
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from softman.dashboard.auth.provider import REFETCH_SECONDS, Provider
from softman.dashboard.auth.tokens import InvalidToken, TokenVerifier
from softman.errors import ServiceUnavailable
from softman.settings_dashboard import ProviderSettings
from tests.support.openid import ISSUER, FakeProvider, rsa_key

AUDIENCE = {"aud": "softman-api"}


def _ask(client: TestClient, token: str) -> tuple[int, str]:
    answer = client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    if answer.status_code == 401:
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert answer.headers["content-type"] == "application/problem+json"
        assert token == "" or token not in answer.text
    return answer.status_code, answer.json().get("detail", "")


def _b64(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("kind", ["at+jwt", "application/at+jwt", "JWT", "jwt", None])
def test_a_good_token_says_who_asks(client: TestClient, provider: FakeProvider, kind: str | None) -> None:
    token = provider.token({**AUDIENCE, "groups": ["/physics"]}, {"typ": kind})
    answer = client.get("/api/v1/me", headers={"Authorization": f"bearer {token}"})
    assert (answer.json()["user"], answer.json()["groups"]) == ("alice", ["physics"])


@pytest.mark.parametrize(
    ("claims", "header", "said"),
    [
        ({"aud": "others"}, {}, "another audience"),
        ({"aud": []}, {}, "another audience"),
        ({"aud": None}, {}, "no claim aud"),
        ({"iss": "https://evil.example"}, {}, "another issuer"),
        ({"iss": ISSUER + "/"}, {}, "another issuer"),
        ({"iss": None}, {}, "no claim iss"),
        ({"exp": 1}, {}, "expired"),
        ({"exp": None}, {}, "no claim exp"),
        ({"exp": "tomorrow"}, {}, "claim exp"),
        ({"exp": True}, {}, "claim exp"),
        ({"nbf": int(time.time()) + 3600}, {}, "not valid yet"),
        ({"iat": int(time.time()) + 3600}, {}, "in the future"),
        ({"sub": None}, {}, "no claim sub"),
        ({"typ": "ID"}, {}, "no access token"),
        ({"typ": "Refresh"}, {}, "no access token"),
        ({"events": {}}, {}, "no access token"),
        ({}, {"kid": None}, ""),
        ({}, {"kid": "of nobody"}, "no key of this id"),
        ({}, {"kid": 7}, ""),
        ({}, {"typ": "logout+jwt"}, "of this type"),
        ({}, {"typ": 7}, ""),
        ({}, {"jku": "https://evil.example/jwks"}, "header jku"),
        ({}, {"x5u": "https://evil.example/cert"}, "header x5u"),
        ({}, {"crit": ["exp"]}, ""),
    ],
)
def test_a_wrong_token_is_refused_with_the_reason(
    client: TestClient, provider: FakeProvider, claims: dict[str, Any], header: dict[str, Any], said: str
) -> None:
    provider.keys.insert(0, rsa_key("second"))
    now = int(time.time())
    usual = {"iss": ISSUER, **AUDIENCE, "exp": now + 600, **provider.claims}
    content = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    key = provider.keys[-1]
    fields = {"alg": "RS256", "kid": key.kid, "typ": "JWT", **header}
    protected = _b64({name: value for name, value in fields.items() if value is not None})
    signed = f"{protected}.{_b64(content)}"
    algorithm = jws.JWSRegistry.algorithms["RS256"]
    token = f"{signed}.{_b64(algorithm.sign(signed.encode(), key))}"
    status, detail = _ask(client, token)
    assert status == 401
    assert said in detail


def test_its_signature_has_to_be_the_issuers(client: TestClient, provider: FakeProvider) -> None:
    token = provider.token(AUDIENCE)
    provider.keys = [RSAKey.import_key({**rsa_key("second").as_dict(), "kid": "first"})]
    assert _ask(client, token) == (401, "the signature of the token is wrong")


def test_a_changed_token_is_refused(client: TestClient, provider: FakeProvider) -> None:
    head, _, tail = provider.token(AUDIENCE).split(".")
    forged = {"iss": ISSUER, **AUDIENCE, "sub": "root", "preferred_username": "root", "exp": int(time.time()) + 60}
    assert _ask(client, f"{head}.{_b64(forged)}.{tail}") == (401, "the signature of the token is wrong")


def test_none_is_no_algorithm(client: TestClient, provider: FakeProvider) -> None:
    payload = provider.token(AUDIENCE).split(".")[1]
    for name in ("none", "None", "NONE", "nOnE", ""):
        for signature in ("", "AAAA"):
            status, _ = _ask(client, f"{_b64({'alg': name, 'kid': 'first'})}.{payload}.{signature}")
            assert status == 401


def test_the_public_key_is_no_shared_secret(client: TestClient, provider: FakeProvider) -> None:
    claims = {"iss": ISSUER, **AUDIENCE, "exp": int(time.time()) + 60, **provider.claims}
    signed = f"{_b64({'alg': 'HS256', 'kid': 'first'})}.{_b64(claims)}"
    secret = provider.keys[0].as_pem(private=False)
    token = f"{signed}.{_b64(hmac.digest(secret, signed.encode(), 'sha256'))}"
    assert _ask(client, token) == (401, "tokens signed with 'HS256' are not accepted")


def test_an_algorithm_of_another_kind_of_key_is_refused(client: TestClient, provider: FakeProvider) -> None:
    head = {"alg": "ES256", "kid": "first", "typ": "JWT"}
    token = provider.token(AUDIENCE)
    assert _ask(client, ".".join([_b64(head), *token.split(".")[1:]]))[0] == 401


@pytest.mark.parametrize(
    "token",
    ["x", "a.b.c", "..", "a" * 20_000, "e30.e30.e30", "\u00e9.b.c",
     _b64(b"[" * 3000) + ".e30.AA", _b64({"alg": ["RS256"]}) + ".e30.AA", _b64([1]) + ".e30.AA", "a.b", "a.b.c.d.e"],
)  # fmt: skip
def test_what_is_no_token_is_refused(client: TestClient, token: str) -> None:
    answer = client.get("/api/v1/me", headers={b"Authorization": b"Bearer " + token.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:softman:problem:invalid-token"


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "Token x", ""])
def test_other_ways_to_authenticate_are_refused(client: TestClient, header: str) -> None:
    answer = client.get("/api/v1/me", headers={"Authorization": header})
    assert answer.status_code == 401
    assert 'error="invalid_request"' in answer.headers["www-authenticate"]


def test_clocks_may_differ_by_the_setting(client: TestClient, provider: FakeProvider) -> None:
    now = int(time.time())
    assert _ask(client, provider.token({**AUDIENCE, "exp": now - 20, "nbf": now + 20, "iat": now + 20}))[0] == 200
    assert _ask(client, provider.token({**AUDIENCE, "exp": now - 61}))[0] == 401


def test_elliptic_curves_are_accepted(client: TestClient, provider: FakeProvider) -> None:
    provider.keys.append(ECKey.generate_key("P-256", {"kid": "curve"}))
    assert _ask(client, provider.token(AUDIENCE))[0] == 200


def test_a_token_without_a_user_name_is_completed_once(client: TestClient, provider: FakeProvider) -> None:
    """As those of the WLCG profile, which have groups and no name."""
    provider.info = {"sub": "subject-of-alice", "preferred_username": "alice", "groups": ["softman-admins"]}
    token = provider.token({**AUDIENCE, "preferred_username": None, "wlcg.groups": ["/physics"], "groups": []})
    headers = {"Authorization": f"Bearer {token}"}
    me = [client.get("/api/v1/me", headers=headers).json() for _ in range(3)]
    assert [(one["user"], one["groups"], one["admin"]) for one in me] == [("alice", ["physics"], False)] * 3
    assert provider.asked.count("/userinfo") == 1


def test_the_name_of_somebody_else_completes_nothing(client: TestClient, provider: FakeProvider) -> None:
    provider.info = {"sub": "subject-of-root", "preferred_username": "root"}
    assert _ask(client, provider.token({**AUDIENCE, "preferred_username": None}))[0] == 403


def test_a_token_with_a_name_asks_nobody(client: TestClient, provider: FakeProvider) -> None:
    assert _ask(client, provider.token(AUDIENCE))[0] == 200
    assert "/userinfo" not in provider.asked


def test_too_many_refused_tokens_of_an_address_are_refused_unseen(client: TestClient) -> None:
    answers = [_ask(client, "a.b.c")[0] for _ in range(31)]
    assert answers == [401] * 30 + [429]


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def verifier(provider: FakeProvider, clock: _Clock) -> TokenVerifier:
    settings = ProviderSettings(issuer=ISSUER, audiences=("softman-api",))
    return TokenVerifier(settings, Provider(settings, provider.transport, clock))


def test_a_new_key_is_found_and_unknown_ones_are_looked_for_once(
    verifier: TokenVerifier, provider: FakeProvider, clock: _Clock
) -> None:
    verifier.access_token(provider.token(AUDIENCE))
    provider.keys.append(rsa_key("second"))
    clock.now += REFETCH_SECONDS
    verifier.access_token(provider.token(AUDIENCE))
    assert provider.asked.count("/jwks") == 2
    for number in range(20):
        clock.now += 1
        with pytest.raises(InvalidToken, match="no key of this id"):
            verifier.access_token(provider.token(AUDIENCE, {"kid": f"invented-{number}"}))
    assert provider.asked.count("/jwks") == 2


def test_known_keys_are_good_while_the_provider_is_away(
    verifier: TokenVerifier, provider: FakeProvider, clock: _Clock
) -> None:
    token = provider.token(AUDIENCE)
    verifier.access_token(token)
    provider.away = True
    clock.now += 7200
    assert verifier.access_token(token)["sub"] == "subject-of-alice"
    with pytest.raises(ServiceUnavailable):  # not "refused": nobody knows
        verifier.access_token(provider.token(AUDIENCE, {"kid": "new"}))
    clock.now += 86_400
    with pytest.raises(ServiceUnavailable):
        verifier.access_token(token)


def test_a_provider_that_is_away_is_asked_less_and_less(
    verifier: TokenVerifier, provider: FakeProvider, clock: _Clock
) -> None:
    provider.away = True
    for _ in range(100):
        clock.now += 1
        with pytest.raises(ServiceUnavailable, match="nobody listens"):
            verifier.access_token(provider.token(AUDIENCE))
    assert 5 <= provider.attempts <= 8
