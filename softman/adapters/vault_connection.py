"""Connections to Vault and OpenBao through hvac, and what the exceptions of hvac and requests mean to us."""

import hvac
import requests
from hvac import exceptions as vault_errors
from requests import exceptions as http_errors

from softman.adapters.errormap import Meaning, Table
from softman.errors import Conflict, Forbidden, InvalidInput, NotFound, PermanentError, ServiceUnavailable
from softman.settings import VaultSettings
from softman.transport import certificate_problem

REQUEST_SECONDS = 15
"""How long one request may take to connect, and to be answered."""

_NO_ANSWER = Meaning(ServiceUnavailable, "Vault does not answer; does it run, and is SOFTMAN_VAULT__ADDRESS right?")
_CUT_OFF = Meaning(ServiceUnavailable, "the connection to Vault broke off")
_BAD_ADDRESS = Meaning(InvalidInput, "SOFTMAN_VAULT__ADDRESS is no URL that can be asked")
_NOT_VAULT = Meaning(ServiceUnavailable, "the answer is not Vault's; is SOFTMAN_VAULT__ADDRESS right?")
_REFUSED = Meaning(
    Forbidden, "Vault refuses it; are the policies installed, and are these the credentials of the role?"
)


def _unavailable(exc: vault_errors.VaultDown) -> Meaning:
    if "sealed" in _errors(exc).lower():
        return Meaning(ServiceUnavailable, "Vault is sealed; an administrator has to unseal it")
    return Meaning(ServiceUnavailable, "Vault says that it is down")


def _bad_request(exc: vault_errors.InvalidRequest) -> Meaning:
    errors = _errors(exc).lower()
    if "check-and-set parameter did not match" in errors:
        return Meaning(Conflict, "somebody else wrote it first")
    if "upgrading from non-versioned" in errors:  # the first moments of a new KV v2 mount
        return Meaning(ServiceUnavailable, "the mount is being prepared")
    return Meaning(InvalidInput, "Vault cannot make sense of the request; is the mount of type KV version 2?")


def _tls(exc: http_errors.SSLError) -> Meaning:
    problem = certificate_problem(exc)
    if problem:
        advice = "Vault's certificate is not trusted; is SOFTMAN_VAULT__CA_FILE the right one?"
        return Meaning(PermanentError, f"{advice} To be exact, {problem}")
    return _CUT_OFF


def _errors(exc: vault_errors.VaultError) -> str:
    errors = exc.errors or ()
    return errors if isinstance(errors, str) else " ".join(errors)


VAULT_ERRORS: Table = {
    vault_errors.VaultError: _NOT_VAULT,
    vault_errors.UnexpectedError: Meaning(ServiceUnavailable, "Vault gives an answer that is not expected here"),
    vault_errors.InvalidRequest: _bad_request,
    vault_errors.Unauthorized: _REFUSED,
    vault_errors.Forbidden: _REFUSED,
    vault_errors.InvalidPath: Meaning(NotFound, "Vault has nothing at that path; is the mount enabled?"),
    vault_errors.UnsupportedOperation: Meaning(PermanentError, "Vault does not support it at that path"),
    vault_errors.ParamValidationError: Meaning(InvalidInput, "hvac does not accept the parameters"),
    vault_errors.PreconditionFailed: Meaning(ServiceUnavailable, "this Vault node has not caught up yet"),
    vault_errors.RateLimitExceeded: Meaning(ServiceUnavailable, "Vault limits the rate of requests"),
    vault_errors.InternalServerError: Meaning(ServiceUnavailable, "Vault reports a fault of its own"),
    vault_errors.VaultNotInitialized: Meaning(ServiceUnavailable, "Vault is not initialised; see its administrator"),
    vault_errors.VaultDown: _unavailable,
    vault_errors.BadGateway: Meaning(ServiceUnavailable, "the gateway before Vault does not reach it"),
    http_errors.RequestException: _NO_ANSWER,
    http_errors.ConnectionError: _NO_ANSWER,
    http_errors.ProxyError: _NO_ANSWER,
    http_errors.SSLError: _tls,
    http_errors.Timeout: Meaning(ServiceUnavailable, f"Vault did not answer within {REQUEST_SECONDS} s"),
    http_errors.ConnectTimeout: Meaning(ServiceUnavailable, f"Vault did not accept within {REQUEST_SECONDS} s"),
    http_errors.ReadTimeout: Meaning(ServiceUnavailable, f"Vault did not answer within {REQUEST_SECONDS} s"),
    http_errors.HTTPError: _NOT_VAULT,
    http_errors.InvalidJSONError: _NOT_VAULT,
    http_errors.JSONDecodeError: _NOT_VAULT,
    http_errors.TooManyRedirects: _NOT_VAULT,
    http_errors.ContentDecodingError: _NOT_VAULT,
    http_errors.ChunkedEncodingError: _CUT_OFF,
    http_errors.StreamConsumedError: _CUT_OFF,
    http_errors.RetryError: _NO_ANSWER,
    http_errors.UnrewindableBodyError: _CUT_OFF,
    http_errors.URLRequired: _BAD_ADDRESS,
    http_errors.MissingSchema: _BAD_ADDRESS,
    http_errors.InvalidSchema: _BAD_ADDRESS,
    http_errors.InvalidURL: _BAD_ADDRESS,
    http_errors.InvalidProxyURL: _BAD_ADDRESS,
    http_errors.InvalidHeader: Meaning(InvalidInput, "the token has characters that no header can hold"),
}
"""Every exception of hvac, and of requests under it."""


def connect(settings: VaultSettings, token: str = "") -> hvac.Client:
    """A client that always verifies certificates, has bounded times, and takes nothing from environment or home.

    It speaks to the namespace in the settings. hvac would otherwise read ``VAULT_TOKEN`` and ``~/.vault-token``,
    requests proxies and ``.netrc``: credentials go to the address in the settings and nowhere else.

    Raises:
        InvalidInput: ``ca_file`` is set and no file.
    """
    if settings.ca_file is not None and not settings.ca_file.is_file():
        msg = f"SOFTMAN_VAULT__CA_FILE names {settings.ca_file}, which is no file"
        raise InvalidInput(msg)
    session = requests.Session()
    session.trust_env = False
    session.verify = str(settings.ca_file) if settings.ca_file is not None else True
    return hvac.Client(
        url=settings.address,
        token=token,
        verify=session.verify,
        timeout=REQUEST_SECONDS,
        namespace=settings.namespace or None,
        session=session,
    )
