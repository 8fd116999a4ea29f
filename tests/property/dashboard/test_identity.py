"""Whatever a token or its claims hold: a principal whose names fit, or one of our errors."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt

from softman.dashboard.auth.claims import principal
from softman.dashboard.auth.provider import Provider
from softman.dashboard.auth.tokens import InvalidToken, TokenVerifier
from softman.dashboard.security import local_path
from softman.errors import InvalidInput
from softman.names import check_label, check_subject
from softman.settings_dashboard import ClaimSettings, ProviderSettings
from tests.support.openid import ISSUER, FakeProvider

PREFIX = "urn:geant:example.org:group:"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
GROUP = st.text(alphabet="abp/=:%#.-RoleCapabilityNULL\n", max_size=40).map(lambda text: text) | st.text(
    max_size=40
).map(PREFIX.__add__)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "sub": st.text(max_size=20) | JSON,
        "preferred_username": st.text(alphabet="ab1-", min_size=1, max_size=12) | JSON,
        "name": JSON,
        "groups": st.lists(GROUP, max_size=5) | JSON,
        "wlcg.groups": st.lists(GROUP, max_size=5),
        "entitlements": GROUP | JSON,
    },
)


@pytest.fixture(scope="module")
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture(scope="module")
def verifier(provider: FakeProvider) -> TokenVerifier:
    own = ProviderSettings(issuer=ISSUER, audiences=("softman-api",))
    return TokenVerifier(own, Provider(own, provider.transport))


@given(claims=CLAIMS)
def test_claims_give_names_that_fit_or_our_error(claims: dict[str, Any]) -> None:
    try:
        who = principal(claims, ClaimSettings(entitlement_prefixes=(PREFIX,)), "example.org")
    except InvalidInput:
        return
    assert check_subject(who.subject) == claims["sub"]
    for label in (who.user, *who.groups):
        check_label(label, "example.org")
    assert who.managed <= who.groups
    assert who.name.isprintable()


@given(
    claims=st.fixed_dictionaries({}, optional=dict.fromkeys(("iss", "aud", "exp", "nbf", "iat", "sub", "typ"), JSON))
)
def test_a_signed_token_of_any_content_is_refused_by_name(
    verifier: TokenVerifier, provider: FakeProvider, claims: dict[str, Any]
) -> None:
    """Unless it is good by chance, which takes issuer and audience."""
    key = provider.keys[0]
    with pytest.raises(InvalidToken):
        verifier.access_token(jwt.encode({"alg": "RS256", "kid": key.kid, "typ": "JWT"}, claims, key))


@given(data=st.data())
@settings(max_examples=200)
def test_a_damaged_token_is_refused(verifier: TokenVerifier, provider: FakeProvider, data: st.DataObject) -> None:
    good = jwt.encode(
        {"alg": "RS256", "kid": "first", "typ": "JWT"},
        {"iss": ISSUER, "aud": "softman-api", "sub": "s", "exp": int(time.time()) + 3600},
        provider.keys[0],
    )
    place = data.draw(st.integers(0, len(good) - 2))
    other = data.draw(st.characters(codec="utf-8").filter(lambda char: char != good[place]))
    with pytest.raises(InvalidToken):
        verifier.access_token(good[:place] + other + good[place + 1 :])


@given(text=st.text(max_size=300) | st.text(alphabet="eyJ.-_=0", max_size=300))
def test_any_text_is_refused_as_a_token(verifier: TokenVerifier, text: str) -> None:
    with pytest.raises(InvalidToken):
        verifier.access_token(text)


@given(path=st.text(alphabet="/\\:@?#.%a\t\r\n \x00", max_size=12) | st.text(max_size=30))
def test_the_page_after_a_login_is_one_of_ours(path: str) -> None:
    found = local_path(path)
    assert found.startswith("/")
    assert not found.startswith(("//", "/\\"))
    assert not set(found) & set("\\\r\n\t\x00 ")
