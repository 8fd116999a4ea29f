"""Whatever comes in is understood or refused with an error of ours, and leaves neither repository nor tenant."""

import json
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workers.app
from softman.adapters.vault_layout import decode_record, encode_record, owner_path, record_path, signing_path
from softman.cvmfs.entries import symlink_entry
from softman.cvmfs.errors import CandidateRejected
from softman.cvmfs.format.keys import generate_gateway_key, generate_keys
from softman.cvmfs.inspection_entries import check_link
from softman.errors import Corrupt, InvalidInput, SoftmanError
from softman.model import BucketObject, Refusal, RegistryRecord
from softman.names import Kind, Owner, RepositoryName, is_text
from softman.services.archives.links import judge_link
from softman.services.configuration import parse_configuration
from softman.services.mapping import Rules, Target, TargetKind
from softman.services.proof import signed
from softman.tasks.payloads import commit_request_from_json
from tests.support.world import World
from workers.base import BODIES

assert workers.app.app  # imports all task bodies

DOMAIN = "example.org"
ALICE = RepositoryName("alice", DOMAIN)
KEY = generate_gateway_key()
AWKWARD = st.sampled_from(
    [
        "..",
        ".",
        "/",
        "//",
        "\0",
        "\n",
        "%2e%2e",
        "%00",
        "groups",
        "softman",
        "*",
        "+",
        "#",
        "\ud800",
        "\x1b[31m",
        "$(A)",
    ]
)
TEXTS = st.lists(AWKWARD | st.text(max_size=12), max_size=5).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
bounded = settings(derandomize=True, deadline=None, max_examples=200)


@pytest.mark.parametrize("name", sorted(BODIES))
@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    args=st.lists(TEXTS | st.just("alice.example.org") | JSON, max_size=4),
    kwargs=st.dictionaries(TEXTS, JSON, max_size=3),
)
def test_arguments_of_tasks_are_plain_and_clean(name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    try:
        bound = BODIES[name].signature.bind(tuple(args), kwargs)
    except InvalidInput:
        return
    assert all(is_text(value) for value in bound.values() if isinstance(value, str))


@bounded
@given(user=TEXTS, subject=TEXTS, group=st.none() | TEXTS, kind=st.sampled_from(Kind))
def test_owners_stay_in_their_own_part_of_the_vault(user: str, subject: str, group: str | None, kind: Kind) -> None:
    """User and group names, and the ``sub`` claim, are whatever a login says."""
    try:
        owner = Owner(user, subject, kind, group)
        name = RepositoryName(owner.label, DOMAIN)
        path = owner_path(owner, name)
    except InvalidInput:
        return
    assert PurePosixPath(path).parts == tuple(path.split("/"))
    first = ("groups", group) if group is not None else (subject,)
    assert tuple(path.split("/")) == (*first, "cvmfs_keys", str(name))
    assert ".." not in path
    assert path.isprintable()
    assert not {"*", "+", "%", "?", "#", "\\"} & set(path)


@bounded
@given(subject=TEXTS, other=TEXTS)
def test_no_two_owners_share_a_place(subject: str, other: str) -> None:
    try:
        first, second = Owner("alice", subject), Owner("alice", other)
    except InvalidInput:
        return
    assert (owner_path(first, ALICE) == owner_path(second, ALICE)) == (subject == other)
    assert not owner_path(first, ALICE).startswith("groups/")


@bounded
@given(text=TEXTS | TEXTS.map(lambda text: f"{text}.{DOMAIN}"))
def test_a_repository_name_is_one_component_everywhere(text: str) -> None:
    try:
        name = RepositoryName.parse(text)
    except InvalidInput:
        return
    for path in (signing_path(name), record_path(name)):
        assert path.count("/") == 1
        assert PurePosixPath(path).name == str(name) == text
    assert str(name).isascii()
    assert str(name).isprintable()


@bounded
@given(
    key=TEXTS.map(lambda text: "cvmfs/" + text), content=st.binary(max_size=40), metadata=st.dictionaries(TEXTS, TEXTS)
)
def test_no_key_leaves_its_repository(key: str, content: bytes, metadata: dict[str, str]) -> None:
    rules = Rules(str(ALICE))
    target = rules.target_of(key)
    if not isinstance(target, Target):
        assert target is None or target.key == key
        return
    names = target.path.split(b"/")[1:]
    assert target.path.startswith(b"/")
    assert not {b"", b".", b".."} & set(names)
    assert b"\0" not in target.path
    assert not names[0].startswith(b".cvmfs") or names == [b".cvmfsdirtab"]
    info = BucketObject(key, len(content), "e", 0.0, metadata)
    settled = rules.settle(target, info)
    if isinstance(settled, Target):
        assert rules.mode(settled, info, content) & ~0o777 == 0


@bounded
@given(
    folders=st.integers(0, 3),
    text=st.lists(AWKWARD | st.sampled_from(["../", "/cvmfs/", str(ALICE), "a/"])).map("".join),
)
def test_what_publishers_take_for_a_good_link_stratum_0_does_too(folders: int, text: str) -> None:
    path = b"/d" * folders + b"/link"
    raw = text.encode("utf-8", "replace")
    led = Rules(str(ALICE)).link(Target("cvmfs/link", path, TargetKind.LINK), raw)
    in_archive = judge_link(path[1:], raw)
    good = [] if isinstance(led, Refusal) else [led]
    good += [] if isinstance(in_archive, str) else [raw]
    for target in good:
        check_link(symlink_entry(path, target), f"/cvmfs/{ALICE}".encode())
    if raw.startswith((b"/etc", b"../../../../../")):
        with pytest.raises(CandidateRejected):
            check_link(symlink_entry(path, raw), f"/cvmfs/{ALICE}".encode())


@bounded
@given(content=st.binary(max_size=80) | TEXTS.map(lambda text: f"ignore = [{json.dumps(text)}]".encode()))
def test_an_owners_configuration_is_read_or_refused(content: bytes) -> None:
    try:
        found = parse_configuration(content)
    except InvalidInput:
        return
    assert found.text.encode() == content


@bounded
@given(
    document=st.dictionaries(TEXTS, JSON),
    changes=st.dictionaries(st.sampled_from(sorted(encode_record(RegistryRecord(ALICE, Owner("alice", "s"))))), JSON),
)
def test_a_record_of_the_registry_is_read_or_corrupt(document: dict[str, Any], changes: dict[str, Any]) -> None:
    for each in (document, {**encode_record(RegistryRecord(ALICE, Owner("alice", "s"))), **changes}):
        try:
            assert decode_record(each, 1, ALICE).repository == ALICE
        except Corrupt:
            continue


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One repository that takes commits."""
    keys = generate_keys(str(ALICE), datetime(2026, 11, 22, tzinfo=UTC))
    material = {
        "masterKey": keys.master_key.decode(),
        "publicKey": keys.public_key.decode(),
        "privateKey": keys.private_key.decode(),
        "certificate": keys.certificate.decode(),
        "gatewayKey": KEY.to_text(),
    }
    made = World(tmp_path_factory.mktemp("input"), material)
    made.provision("alice")
    return made


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "repository": TEXTS,
        "transaction": TEXTS | st.sampled_from(["0" * 32, "../" * 10 + "etc"]),
        "base": st.fixed_dictionaries({"revision": st.integers(-1, 2**64), "root_hash": TEXTS}),
        "new_root_hash": TEXTS | st.sampled_from(["c" * 40, "c" * 40 + "-rmd160"]),
        "signature": TEXTS,
        "key_id": TEXTS,
        "configuration": TEXTS | st.just("ignore = []"),
        "path": TEXTS | st.sampled_from(["/a", "/a/", "a", "/.."]),
    },
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(changes=FIELDS, sign=st.booleans())
def test_stratum_0_refuses_any_request_with_an_error_of_ours(world: World, changes: dict[str, Any], sign: bool) -> None:
    before = world.reader(ALICE).manifest()
    request: dict[str, Any] = {
        "schema": 1,
        "repository": str(ALICE),
        "transaction": "0" * 32,
        "base": {"revision": before.revision, "root_hash": str(before.root_hash)},
        "new_root_hash": "b" * 40,
        "key_id": KEY.key_id,
        "signature": "0" * 64,
        **changes,
    }
    try:
        wish = commit_request_from_json(request)
        answer = world.stratum0.commit(signed(wish, KEY) if sign else wish)
    except SoftmanError:
        pass
    else:
        assert not answer.committed
    assert world.reader(ALICE).manifest() == before
