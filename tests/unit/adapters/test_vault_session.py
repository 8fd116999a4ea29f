"""The table of hvac's and requests' exceptions is complete, and tells apart what a user has to tell apart."""

import pytest
from hvac import exceptions as vault_errors
from requests import exceptions as http_errors

from softman.adapters.errormap import meaning_of, translated, unmapped
from softman.adapters.vault_connection import VAULT_ERRORS
from softman.errors import Conflict, Forbidden, InvalidInput, NotFound, PermanentError, ServiceUnavailable, SoftmanError


def test_every_exception_of_hvac_is_mapped() -> None:
    assert unmapped(VAULT_ERRORS, vault_errors) == frozenset()


def test_every_exception_of_requests_is_mapped() -> None:
    assert unmapped(VAULT_ERRORS, http_errors, base=http_errors.RequestException) == frozenset()


@pytest.mark.parametrize("cls", VAULT_ERRORS)
def test_every_meaning_is_one_of_ours_and_says_something(cls: type[Exception]) -> None:
    arguments = ("secret text", "", 0) if issubclass(cls, http_errors.JSONDecodeError) else ("secret text",)
    meaning = meaning_of(VAULT_ERRORS, cls(*arguments))
    assert meaning is not None
    assert issubclass(meaning.error, SoftmanError)
    assert meaning.text
    assert "secret text" not in meaning.text


@pytest.mark.parametrize(
    ("exc", "error", "text"),
    [
        (vault_errors.VaultDown(errors=["Vault is sealed"]), ServiceUnavailable, "sealed"),
        (vault_errors.VaultDown("<html>", text="<html>"), ServiceUnavailable, "down"),
        (vault_errors.Forbidden(errors=["permission denied"]), Forbidden, "policies"),
        (vault_errors.InvalidPath(errors=["no handler for route"]), NotFound, "mount"),
        (
            vault_errors.InvalidRequest(errors=["check-and-set parameter did not match the current version"]),
            Conflict,
            "somebody else",
        ),
        (
            vault_errors.InvalidRequest(errors=["Upgrading from non-versioned to versioned data. This backend ..."]),
            ServiceUnavailable,
            "prepared",
        ),
        (vault_errors.InvalidRequest(errors=["missing client token"]), InvalidInput, "sense"),
        (http_errors.ConnectionError("refused"), ServiceUnavailable, "does it run"),
        (http_errors.ReadTimeout("late"), ServiceUnavailable, "within 15 s"),
        (http_errors.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), PermanentError, "CA_FILE"),
        (http_errors.SSLError("unexpected eof"), ServiceUnavailable, "broke off"),
        (http_errors.MissingSchema("no scheme"), InvalidInput, "ADDRESS"),
    ],
)
def test_what_is_told_apart(exc: Exception, error: type[SoftmanError], text: str) -> None:
    with pytest.raises(error, match=text) as caught, translated(VAULT_ERRORS, "read the keys"):
        raise exc
    assert type(caught.value) is error
