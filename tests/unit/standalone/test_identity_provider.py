"""The development identity provider: whom it knows, and a site without its package."""

import itertools
import json

import pytest

from softman.dashboard.auth.claims import principal
from softman.settings_dashboard import ClaimSettings
from softman.standalone import identity_provider
from softman.standalone.identity_provider import identity_provider_arguments, new_dashboard
from softman.standalone.processes import pages_of, process_specs


def test_its_people_are_who_they_say() -> None:
    arguments = identity_provider_arguments(7)
    people = [json.loads(text) for option, text in itertools.pairwise(arguments) if option == "--user-claims"]
    found = {who.user: who for who in (principal(claims, ClaimSettings(), "example.org") for claims in people)}
    assert {user for user, who in found.items() if "physics" in who.groups} == {"bob", "carol"}
    assert {user for user, who in found.items() if "physics" in who.managed} == {"carol"}
    assert {user for user, who in found.items() if who.admin} == {"admin"}
    assert "alice" in found


def test_it_listens_on_loopback_only() -> None:
    arguments = identity_provider_arguments(7)
    assert arguments[arguments.index("--host") + 1] == "127.0.0.1"


def test_without_its_package_the_dashboard_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"dashboard", "identity-provider"}
    with_it = new_dashboard(6, 7)
    assert {spec.name for spec in process_specs(None, with_it)} >= names
    assert set(pages_of(None, with_it)) == names
    monkeypatch.setattr(identity_provider, "_PACKAGE", "no_such_package")
    alone = new_dashboard(6, 7)
    assert alone.issuer == ""
    assert {spec.name for spec in process_specs(None, alone)} & names == {"dashboard"}
    assert set(pages_of(None, alone)) == {"dashboard"}
