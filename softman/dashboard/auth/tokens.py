"""Signed tokens (JWT): ID tokens at login, access tokens at the API. What is wrong with a token is said precisely.

Rules beside the signature are those of OpenID Connect Core 1.0, section 3.1.3.7, and of RFC 8725 (best current
practices): allowed algorithms are a list of ours, keys are found at the issuer only.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError, MissingClaimError
from joserfc.jwt import JWTClaimsRegistry

from softman.dashboard.auth.provider import Provider
from softman.dashboard.problems import Unauthenticated
from softman.settings_dashboard import ProviderSettings

LONGEST_TOKEN = 16 * 1024
"""Characters."""
_OWN_KEYS = ("jku", "jwk", "x5u")
_OTHER_USES = frozenset({"ID", "Refresh", "Offline", "Logout"})
"""Keycloak's claim ``typ`` of tokens that are no access tokens."""


class InvalidToken(Unauthenticated):
    """A token is refused.

    Args:
        detail: why; it holds nothing of the token but names.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail, error="invalid_token")


class TokenVerifier:
    """Verifies the tokens of one issuer.

    Args:
        settings: issuer, audiences and what is allowed.
        provider: has the keys.
        clock: seconds since 1970.
    """

    def __init__(self, settings: ProviderSettings, provider: Provider, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._provider = provider
        self._clock = clock

    def access_token(self, text: str) -> dict[str, Any]:
        """The claims of an API token.

        Raises:
            InvalidToken: it is refused.
            ServiceUnavailable: the issuer's keys are not known, and it does not answer.
        """
        if not self._settings.audiences or not self._settings.issuer:
            msg = "this site takes no API tokens"
            raise InvalidToken(msg)
        header = self._header(text)
        kind = header.get("typ", "")
        short = kind.removeprefix("application/") if isinstance(kind, str) else None
        if short is None or short.lower() not in map(str.lower, self._settings.token_types):
            msg = "a token of this type is no access token"
            raise InvalidToken(msg)
        claims = self._claims(text, header, list(self._settings.audiences))
        if claims.get("typ") in _OTHER_USES or "events" in claims:
            msg = "this is no access token"
            raise InvalidToken(msg)
        return claims

    def id_token(self, text: str, nonce: str) -> dict[str, Any]:
        """The claims of the ID token of a login.

        Args:
            text: the token.
            nonce: what this login sent.

        Raises:
            InvalidToken: it is refused.
            ServiceUnavailable: the issuer's keys are not known, and it does not answer.
        """
        own = self._settings.client_id
        claims = self._claims(text, self._header(text), [own])
        if claims.get("nonce") != nonce:
            msg = "the ID token belongs to another login"
            raise InvalidToken(msg)
        audience = claims["aud"]
        if claims.get("azp", own) != own or (isinstance(audience, list) and len(audience) > 1 and "azp" not in claims):
            msg = "the ID token was made for another client"
            raise InvalidToken(msg)
        return claims

    def _header(self, text: str) -> Mapping[str, Any]:
        if len(text) > LONGEST_TOKEN:
            msg = f"the token has more than {LONGEST_TOKEN} characters"
            raise InvalidToken(msg)
        try:
            header = jws.extract_compact(text.encode("ascii")).headers()
        except (JoseError, ValueError, TypeError, RecursionError) as exc:
            msg = "this is no signed JWT (three parts of base64url with dots between them)"
            raise InvalidToken(msg) from exc
        algorithm = header.get("alg")
        if algorithm not in self._settings.algorithms:
            msg = f"tokens signed with {str(algorithm)[:20]!r} are not accepted"
            raise InvalidToken(msg)
        if strange := next((name for name in (*_OWN_KEYS, "crit") if name in header), None):
            msg = f"a token may not have the header {strange}"
            raise InvalidToken(msg)
        return header

    def _claims(self, text: str, header: Mapping[str, Any], audiences: list[str]) -> dict[str, Any]:
        key_id = header.get("kid")
        if key_id is not None and not isinstance(key_id, str):
            msg = "the key id of the token is no text"
            raise InvalidToken(msg)
        key = self._provider.key(key_id)
        if key is None:
            msg = "the issuer has no key of this id" if key_id is not None else "the token does not name its key"
            raise InvalidToken(msg)
        registry = jws.JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
        try:
            claims: dict[str, Any] = jwt.decode(text, key, registry=registry).claims
        except (JoseError, ValueError, TypeError, RecursionError, OverflowError) as exc:
            msg = "the signature of the token is wrong"
            raise InvalidToken(msg) from exc
        self._check(claims, audiences)
        return claims

    def _check(self, claims: dict[str, Any], audiences: list[str]) -> None:
        rules = JWTClaimsRegistry(
            now=int(self._clock()),
            leeway=self._settings.clock_skew,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "values": audiences},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            rules.validate(claims)
        except ExpiredTokenError as exc:
            msg = "the token has expired"
            raise InvalidToken(msg) from exc
        except MissingClaimError as exc:
            msg = f"the token has no claim {exc.claim}"
            raise InvalidToken(msg) from exc
        except ClaimError as exc:
            msg = _WRONG.get(exc.claim, f"the claim {exc.claim} of the token is wrong")
            raise InvalidToken(msg) from exc


_WRONG = {
    "iss": "the token comes from another issuer",
    "aud": "the token was made for another audience",
    "nbf": "the token is not valid yet",
    "iat": "the token was issued in the future",
}
