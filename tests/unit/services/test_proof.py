"""A proof binds every field, and only the right key makes it."""

from dataclasses import replace

import pytest

from softman.cvmfs.format.keys import GatewayKey, generate_gateway_key
from softman.errors import Forbidden
from softman.model import Base, CommitRequest
from softman.services.proof import check_signature, signed

KEY = GatewayKey("key1", "a-secret")
REQUEST = CommitRequest("alice.example.org", "0" * 32, Base(7, "a" * 40), "b" * 40, key_id="", signature="")


def test_what_was_signed_is_accepted() -> None:
    check_signature(signed(REQUEST, KEY), KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"repository": "bob.example.org"},
        {"transaction": "1" * 32},
        {"base": Base(8, "a" * 40)},
        {"base": Base(7, "c" * 40)},
        {"new_root_hash": "c" * 40},
        {"key_id": "key2"},
        {"configuration": ""},
        {"repairs": ("/a",)},
        {"signature": ""},
        {"signature": "ä"},
    ],
)
def test_any_change_voids_the_proof(change: dict[str, object]) -> None:
    with pytest.raises(Forbidden, match="gateway key"):
        check_signature(replace(signed(REQUEST, KEY), **change), KEY)  # type: ignore[arg-type]


def test_another_key_is_refused() -> None:
    with pytest.raises(Forbidden):
        check_signature(signed(REQUEST, GatewayKey("key1", "another")), KEY)
    with pytest.raises(Forbidden):
        check_signature(signed(REQUEST, KEY), generate_gateway_key())


def test_the_configuration_is_part_of_it() -> None:
    request = signed(replace(REQUEST, configuration="ignore = []"), KEY)
    check_signature(request, KEY)
    for other in (None, "", "ignore = ['x']"):
        with pytest.raises(Forbidden):
            check_signature(replace(request, configuration=other), KEY)
