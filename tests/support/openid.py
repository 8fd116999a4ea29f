"""An OpenID provider without a network, for unit tests: it checks PKCE as a real one does, and can lie in any way."""

import base64
import hashlib
import json
import time
from functools import cache
from typing import Any
from urllib.parse import parse_qs

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

ISSUER = "https://iam.example.org"
CLIENT = "softman"


@cache
def rsa_key(name: str) -> RSAKey:
    """A key with this id; made once, for that takes a while."""
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig"})


class FakeProvider:
    """Answers a ``httpx2`` client.

    Attributes:
        keys: those it publishes; the last one signs.
        claims: of the next ID token, beside the usual ones.
        info: what the user-info endpoint says; None to refuse the token.
        away: answer nothing.
        attempts: how often it was asked, answered or not.
        asked: the paths that it answered.
    """

    def __init__(self) -> None:
        self.keys: list[RSAKey | ECKey] = [rsa_key("first")]
        self.claims: dict[str, Any] = {"sub": "subject-of-alice", "preferred_username": "alice"}
        self.info: dict[str, Any] | None = {}
        self.metadata: dict[str, Any] = {}
        self.away = False
        self.attempts = 0
        self.asked: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}

    @property
    def transport(self) -> httpx2.MockTransport:
        """To be given to a client."""
        return httpx2.MockTransport(self._answer)

    def authorize(self, address: str) -> dict[str, str]:
        """What a person's browser does with the address of the login; the parameters it comes back with."""
        query = dict(httpx2.URL(address).params)
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        return {"code": code, "state": query["state"]}

    def token(self, claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None) -> str:
        """A good token, but for what is given; a claim of None is left out."""
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": CLIENT, "iat": now, "exp": now + 600, **self.claims}
        content = {name: value for name, value in {**usual, **(claims or {})}.items() if value is not None}
        key = self.keys[-1]
        algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
        fields = {"alg": algorithm, "kid": key.kid, "typ": "JWT", **(header or {})}
        return jwt.encode({name: value for name, value in fields.items() if value is not None}, content, key)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.attempts += 1
        if self.away:
            msg = "nobody listens"
            raise httpx2.ConnectError(msg)
        self.asked.append(request.url.path)
        match request.url.path:
            case "/.well-known/openid-configuration":
                return httpx2.Response(200, json=self._metadata())
            case "/jwks":
                return httpx2.Response(200, json=KeySet(list(self.keys)).as_dict())
            case "/token":
                return self._tokens(request)
            case "/userinfo":
                return httpx2.Response(401 if self.info is None else 200, json=self.info or {"error": "invalid_token"})
        return httpx2.Response(404)

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "userinfo_endpoint": f"{ISSUER}/userinfo",
            "end_session_endpoint": f"{ISSUER}/logout",
            "jwks_uri": f"{ISSUER}/jwks",
            **self.metadata,
        }

    def _tokens(self, request: httpx2.Request) -> httpx2.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        asked = self.codes.pop(form.get("code", ""), None)
        basic = base64.b64encode(f"{CLIENT}:provider-secret".encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}":
            return httpx2.Response(401, json={"error": "invalid_client"})
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or proof != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return httpx2.Response(400, json={"error": "invalid_grant"})
        id_token = self.token({"nonce": asked["nonce"], **self.claims})
        return httpx2.Response(200, content=json.dumps({"id_token": id_token, "access_token": "opaque"}))
