"""The identity provider over HTTP: its discovery document, its keys, its token and user-info endpoints.

Discovery document and keys are kept; when the provider is away, the last ones are used for up to a day, and it is asked
again after a pause that grows. Answers are bounded in size and time, redirects are not followed.
"""

import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx2
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from softman.errors import Forbidden, ServiceUnavailable
from softman.settings_dashboard import ProviderSettings
from softman.transport import certificate_problem

LONGEST_ANSWER = 1024 * 1024
"""Bytes of any answer of the provider."""
STALE_SECONDS = 86_400.0
REFETCH_SECONDS = 30.0
"""Unknown key ids do not lead to more questions than one in this time."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_DISCOVERY = "/.well-known/openid-configuration"
_SERVER_ERROR = 500

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Metadata:
    """The discovery document, as far as it is used (OpenID Connect Discovery 1.0, section 3)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""


class _Kept(Generic[_T]):
    """One thing that is fetched now and then, by one thread at a time."""

    def __init__(self, fetch: Callable[[], _T], seconds: float, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._value: _T | None = None
        self._fetched = 0.0
        self._pause = 0.0
        self._next = 0.0
        self._reason = ""

    def get(self, *, younger_than: float | None = None) -> _T:
        """The value.

        Args:
            younger_than: seconds; an older one is not good enough, as it otherwise is while the provider is away.

        Raises:
            ServiceUnavailable: there is none, and the provider does not answer or did not a moment ago.
        """
        limit = self._seconds if younger_than is None else younger_than
        with self._lock:
            now = self._clock()
            if self._value is not None and now - self._fetched < limit:
                return self._value
            if now >= self._next:
                self._try(now)
            if self._value is None or now - self._fetched > (younger_than or STALE_SECONDS):
                raise ServiceUnavailable(self._reason)
            return self._value

    def _try(self, now: float) -> None:
        try:
            self._value = self._fetch()
        except ServiceUnavailable as exc:
            self._pause = min(max(_FIRST_PAUSE, self._pause * 2), _LONGEST_PAUSE)
            self._next, self._reason = now + self._pause, str(exc)
        else:
            self._fetched, self._pause = now, 0.0


class Provider:
    """The identity provider of the settings.

    Args:
        settings: where it is and how we are known there.
        transport: for tests; None for the network.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: ProviderSettings,
        transport: httpx2.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._client = httpx2.Client(
            timeout=settings.timeout,
            trust_env=False,
            follow_redirects=False,
            transport=transport or httpx2.HTTPTransport(verify=_verified(settings)),
        )
        self._metadata = _Kept(self._discover, settings.cache_seconds, clock)
        self._keys = _Kept(self._fetch_keys, settings.cache_seconds, clock)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def metadata(self) -> Metadata:
        """Its addresses.

        Raises:
            ServiceUnavailable: it does not answer, or not as an OpenID provider.
        """
        return self._metadata.get()

    def key(self, key_id: str | None) -> Key | None:
        """The key that verifies signatures under this id; None when it has no such key.

        Keys rotate: an id that is not known leads to one new look, at most one in ``REFETCH_SECONDS``. Without an id
        there is a key when there is but one.

        Raises:
            ServiceUnavailable: the keys are not known, and the provider does not answer.
        """
        found = _find(self._keys.get(), key_id)
        return _find(self._keys.get(younger_than=REFETCH_SECONDS), key_id) if found is None else found

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
        """The tokens for an authorization code.

        Raises:
            Forbidden: the provider refuses the code, or us.
            ServiceUnavailable: it does not answer.
        """
        own = self._settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        secret = own.client_secret.get_secret_value()
        auth: httpx2.BasicAuth | None = None
        if own.client_authentication == "basic":
            auth = httpx2.BasicAuth(_form_encoded(own.client_id), _form_encoded(secret))
        else:
            form["client_id"] = own.client_id
            if own.client_authentication == "post":
                form["client_secret"] = secret
        return self._object("POST", self.metadata().token_endpoint, data=form, auth=auth)

    def user_info(self, access_token: str) -> dict[str, Any]:
        """The claims at the user-info endpoint; none when the provider has no such endpoint.

        Raises:
            Forbidden: the provider refuses the token.
            ServiceUnavailable: it does not answer.
        """
        url = self.metadata().userinfo_endpoint
        return self._object("GET", url, headers={"Authorization": f"Bearer {access_token}"}) if url else {}

    def _discover(self) -> Metadata:
        issuer = self._settings.issuer
        document = self._object("GET", issuer.rstrip("/") + _DISCOVERY)
        if document.get("issuer") != issuer:
            msg = f"the identity provider calls itself {str(document.get('issuer'))[:200]!r}, the setting is {issuer!r}"
            raise ServiceUnavailable(msg)
        found = {name: document.get(name, "") for name in Metadata.__dataclass_fields__}
        for name, url in found.items():
            if not isinstance(url, str) or (url and issuer.startswith("https:") and not url.startswith("https:")):
                msg = f"the identity provider's {name} is no https address"
                raise ServiceUnavailable(msg)
        if missing := [name for name in ("authorization_endpoint", "token_endpoint", "jwks_uri") if not found[name]]:
            msg = f"the identity provider has no {missing[0]}"
            raise ServiceUnavailable(msg)
        return Metadata(**found)

    def _fetch_keys(self) -> KeySet:
        document = self._object("GET", self.metadata().jwks_uri)
        try:
            return KeySet.import_key_set(document)  # type: ignore[arg-type]  # whatever it is, it is checked there
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as exc:
            msg = f"the identity provider's keys cannot be read: {type(exc).__name__}"
            raise ServiceUnavailable(msg) from exc

    def _object(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        try:
            with self._client.stream(method, url, **options) as answer:
                body = b""
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > LONGEST_ANSWER:
                        msg = "the identity provider's answer is too long"
                        raise ServiceUnavailable(msg)
                status = answer.status_code
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as exc:
            reason = certificate_problem(exc) or f"{type(exc).__name__}: {exc}"
            msg = f"the identity provider does not answer: {reason}"
            raise ServiceUnavailable(msg) from exc
        return _json_object(status, body)


def _verified(settings: ProviderSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))


def _json_object(status: int, body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if httpx2.codes.is_client_error(status):
        error = content.get("error") if isinstance(content, Mapping) else None
        msg = f"the identity provider refuses: {str(error or status)[:100]}"
        raise Forbidden(msg)
    if status != httpx2.codes.OK or not isinstance(content, dict):
        msg = f"the identity provider answers with status {status} and no JSON object"
        raise ServiceUnavailable(msg)
    return content


def _find(keys: KeySet, key_id: str | None) -> Key | None:
    usable = [key for key in keys if key.key_type != "oct" and key.get("use") in {None, "sig"}]
    if key_id is None:
        return usable[0] if len(usable) == 1 else None
    return next((key for key in usable if key.kid == key_id), None)


def _form_encoded(text: str) -> str:
    """RFC 6749, section 2.3.1: id and secret are form-encoded before they become user and password."""
    return str(httpx2.QueryParams({"": text}))[1:]
