"""The stand-in without HTTP: time, state and who may do what, with a clock to turn."""

from pathlib import Path
from typing import Any

import pytest

from softman.standalone.vault_standin import wire as w
from softman.standalone.vault_standin.api import StandIn
from softman.standalone.vault_standin.state import State, dump, load
from softman.standalone.vault_standin.tokens import DEFAULT_TTL

ROOT = "root-of-test"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def standin(clock: Clock) -> StandIn:
    return StandIn(root_token=ROOT, clock=clock)


def _ask(standin: StandIn, operation: str, path: str, body: dict[str, Any] | None = None, token: str = ROOT) -> w.Reply:
    return standin.handle(w.Request(operation, path, body or {}, {}, token))


def _body(reply: w.Reply) -> dict[str, Any]:
    assert reply.body is not None
    return reply.body


def _new_token(standin: StandIn, **body: Any) -> str:
    reply = _ask(standin, w.UPDATE, "auth/token/create", body)
    assert reply.status == 200
    return str(_body(reply)["auth"]["client_token"])


def _lookup(standin: StandIn, token: str) -> w.Reply:
    return _ask(standin, w.READ, "auth/token/lookup-self", token=token)


def test_a_token_ends_on_time(standin: StandIn, clock: Clock) -> None:
    token = _new_token(standin, policies=["default"], ttl="90s")
    clock.now += 89
    assert _body(_lookup(standin, token))["data"]["ttl"] == 1
    clock.now += 1
    assert _lookup(standin, token).status == 403


def test_a_renewal_counts_from_now_and_stops_at_the_maximum(standin: StandIn, clock: Clock) -> None:
    token = _new_token(standin, policies=["default"], ttl=100, explicit_max_ttl=150)
    clock.now += 40
    renewed = _ask(standin, w.UPDATE, "auth/token/renew-self", token=token)
    assert _body(renewed)["auth"]["lease_duration"] == 100
    clock.now += 60
    renewed = _ask(standin, w.UPDATE, "auth/token/renew-self", {"increment": "1h"}, token)
    assert _body(renewed)["auth"]["lease_duration"] == 50
    clock.now += 50
    assert _lookup(standin, token).status == 403


def test_children_end_with_their_parent(standin: StandIn, clock: Clock) -> None:
    parent = _new_token(standin, policies=["root"], ttl=60)
    made = _ask(standin, w.UPDATE, "auth/token/create", {"policies": ["default"]}, parent)
    child = _body(made)["auth"]["client_token"]
    orphan = _new_token(standin, policies=["default"], no_parent=True)
    clock.now += 61
    assert _lookup(standin, child).status == 403
    assert _lookup(standin, orphan).status == 200


def test_a_token_without_a_time_gets_the_default(standin: StandIn) -> None:
    token = _new_token(standin, policies=["default"])
    assert _body(_lookup(standin, token))["data"]["ttl"] == DEFAULT_TTL


def test_nobody_hands_out_more_than_they_have(standin: StandIn) -> None:
    _ask(standin, w.UPDATE, "sys/policies/acl/maker", {"policy": 'path "auth/token/*" { capabilities = ["update"] }'})
    maker = _new_token(standin, policies=["maker"])
    for policies in (["root"], ["other"]):
        assert _ask(standin, w.UPDATE, "auth/token/create", {"policies": policies}, maker).status == 400
    assert _ask(standin, w.UPDATE, "auth/token/create", {"policies": ["maker"]}, maker).status == 200


def test_sudo_is_needed_to_seal_and_for_auth_methods(standin: StandIn) -> None:
    rules = 'path "sys/*" { capabilities = ["update", "create", "read"] }'
    _ask(standin, w.UPDATE, "sys/policies/acl/almost", {"policy": rules})
    almost = _new_token(standin, policies=["almost"])
    assert _ask(standin, w.UPDATE, "sys/seal", token=almost).status == 403
    assert _ask(standin, w.UPDATE, "sys/auth/approle", {"type": "approle"}, almost).status == 403
    assert _ask(standin, w.READ, "sys/auth", token=almost).status == 200
    with_sudo = rules.replace("]", ', "sudo"]')
    _ask(standin, w.UPDATE, "sys/policies/acl/almost", {"policy": with_sudo})
    assert _ask(standin, w.UPDATE, "sys/auth/approle", {"type": "approle"}, almost).status == 204


@pytest.mark.parametrize(
    ("operation", "path", "status"),
    [
        (w.READ, "sys/nothing", 404),
        (w.DELETE, "sys/seal", 405),
        (w.READ, "auth/nothing/x", 404),
        (w.READ, "nothing/data/x", 404),
        (w.UPDATE, "sys/health", 405),
        (w.READ, "sys/mounts/x", 400),
        (w.UPDATE, "auth/nothing/login", 403),
    ],
)
def test_what_is_not_there(standin: StandIn, operation: str, path: str, status: int) -> None:
    reply = _ask(standin, operation, path)
    assert reply.status == status
    assert _body(reply)["errors"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("sys/mounts/x", {"type": "kv", "options": [2]}),
        ("sys/policies/acl/x", {"policy": ["x"]}),
        ("sys/capabilities-self", {"paths": 3}),
        ("auth/token/create", {"meta": "x"}),
        ("auth/token/create", {"policies": {"a": 1}}),
        ("auth/token/create", {"num_uses": -1}),
        ("auth/ar/role/r", {"bind_secret_id": "perhaps"}),
        ("auth/ar/role/r", {"token_period": "1h"}),
        ("auth/ar/role/r", {"token_ttl": 2, "token_max_ttl": 1}),
        ("auth/ar/login", {"role_id": 3}),
        ("kv/data/a", {"data": [1]}),
        ("kv/data/a", {"data": {}, "options": "cas"}),
        ("kv/data/a", {"data": {}, "options": {"cas": "x"}}),
        ("kv/data/a/", {"data": {}}),
        ("kv/destroy/a", {"versions": ["x"]}),
        ("kv/metadata/a", {"custom_metadata": {"a": 1}}),
        ("kv/metadata/a", {"delete_version_after": "1h"}),
    ],
)
def test_bodies_of_the_wrong_kind_are_refused(standin: StandIn, path: str, body: dict[str, Any]) -> None:
    _ask(standin, w.UPDATE, "sys/mounts/kv", {"type": "kv-v2"})
    _ask(standin, w.UPDATE, "sys/auth/ar", {"type": "approle"})
    reply = _ask(standin, w.UPDATE, path, body)
    assert reply.status == 400
    assert _body(reply)["errors"]


@pytest.mark.parametrize("path", ["sys", "sys/x", "auth/x", "kv", "kv/below", "k"])
def test_a_mount_keeps_clear_of_others(standin: StandIn, path: str) -> None:
    body = {"type": "kv", "options": {"version": "2"}}
    assert _ask(standin, w.UPDATE, "sys/mounts/kv", body).status == 204
    expected = 204 if path == "k" else 400
    assert _ask(standin, w.UPDATE, f"sys/mounts/{path}", body).status == expected


def test_disabling_an_auth_method_ends_its_roles_and_tokens(standin: StandIn) -> None:
    _ask(standin, w.UPDATE, "sys/auth/ar", {"type": "approle"})
    _ask(standin, w.UPDATE, "auth/ar/role/r", {"token_policies": "default"})
    role_id = _body(_ask(standin, w.READ, "auth/ar/role/r/role-id"))["data"]["role_id"]
    secret_id = _body(_ask(standin, w.UPDATE, "auth/ar/role/r/secret-id"))["data"]["secret_id"]
    body = {"role_id": role_id, "secret_id": secret_id}
    token = _body(_ask(standin, w.UPDATE, "auth/ar/login", body, ""))["auth"]["client_token"]
    assert _lookup(standin, token).status == 200
    _ask(standin, w.DELETE, "sys/auth/ar")
    assert _lookup(standin, token).status == 403
    _ask(standin, w.UPDATE, "sys/auth/ar", {"type": "approle"})
    assert _ask(standin, w.UPDATE, "auth/ar/login", body, "").status == 400


def test_the_whole_state_survives_a_round_trip(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "state"
    standin = StandIn(state_file=file, root_token=ROOT, clock=clock)
    _ask(standin, w.UPDATE, "sys/mounts/kv", {"type": "kv-v2"})
    _ask(standin, w.UPDATE, "kv/data/a/b", {"data": {"x": [1, None]}})
    _ask(standin, w.UPDATE, "kv/metadata/a/b", {"custom_metadata": {"k": "v"}})
    _ask(standin, w.UPDATE, "sys/auth/ar", {"type": "approle"})
    _ask(standin, w.UPDATE, "auth/ar/role/r", {"token_policies": ["p"], "secret_id_num_uses": 3})
    _ask(standin, w.UPDATE, "auth/ar/role/r/secret-id", {"metadata": '{"h": "x"}'})
    _ask(standin, w.UPDATE, "sys/policies/acl/p", {"policy": 'path "a" {}'})
    text = file.read_text()
    assert dump(load(text)) == text
    assert load(dump(State())).unseal_key


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), (90, 90), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172800), ("", 7), (None, 7)]
)
def test_durations(text: object, expected: int) -> None:
    assert w.seconds({"ttl": text}, "ttl", 7) == expected


@pytest.mark.parametrize("value", ["soon", "-1", "1h x", True, "1y", [1]])
def test_what_is_no_duration(standin: StandIn, value: object) -> None:
    reply = _ask(standin, w.UPDATE, "auth/token/create", {"ttl": value})
    assert reply.status == 400
    assert "ttl" in _body(reply)["errors"][0]
