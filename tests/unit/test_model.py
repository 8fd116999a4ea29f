"""Names: the table of decision 15, and what must hold for any text at all."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softman.errors import InvalidInput
from softman.names import (
    MAX_REPOSITORY_NAME,
    MIN_LABEL,
    Kind,
    Owner,
    RepositoryName,
    check_domain,
    check_label,
    check_subject,
)

DOMAIN = "example.org"
LONGEST = MAX_REPOSITORY_NAME - 1 - len(DOMAIN)


@pytest.mark.parametrize("label", ["abc", "a-b", "a--b", "123", "0ab", "a" * LONGEST, "alice", "xn--bcher-kva"])
def test_labels_that_are_possible(label: str) -> None:
    assert check_label(label, DOMAIN) == label
    assert str(RepositoryName(label, DOMAIN)) == f"{label}.{DOMAIN}"


@pytest.mark.parametrize(
    ("label", "because"),
    [
        ("", "characters"),
        ("ab", "characters"),
        ("a" * (LONGEST + 1), "characters"),
        ("Alice", "lower-case"),
        ("al_ice", "lower-case"),
        ("al.ice", "lower-case"),
        ("-alice", "lower-case"),
        ("alice-", "lower-case"),
        ("al ice", "lower-case"),
        ("älice", "lower-case"),
        ("alice\n", "lower-case"),
        ("../etc", "lower-case"),
        ("al/ice", "lower-case"),
        ("al\0ice", "lower-case"),
        ("\N{FULLWIDTH LATIN SMALL LETTER A}bc", "lower-case"),
        ("\N{ARABIC-INDIC DIGIT ONE}23", "lower-case"),
    ],
)
def test_labels_that_are_not(label: str, because: str) -> None:
    with pytest.raises(InvalidInput, match=because):
        RepositoryName(label, DOMAIN)


@pytest.mark.parametrize("domain", ["org", "example.org", "a-b.c", "x" * 56])
def test_domains_that_are_possible(domain: str) -> None:
    if len(domain) == 56:
        domain = f"{'x' * 30}.{'y' * 25}"
    assert check_domain(domain) == domain


@pytest.mark.parametrize(
    "domain", ["", ".", "example.", ".org", "Example.org", "a..b", "-a.b", "a-.b", "a_b.c", "a.b\n", "x" * 57, "x" * 64]
)
def test_domains_that_are_not(domain: str) -> None:
    with pytest.raises(InvalidInput, match="is no DNS domain"):
        check_domain(domain)


@pytest.mark.parametrize("subject", ["alice", "a", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "auth0|1", "a@b.c", "u:1"])
def test_subjects_that_are_possible(subject: str) -> None:
    assert check_subject(subject) == subject


@pytest.mark.parametrize(
    "subject", ["", "groups", "softman", ".", "..", "../x", "a/b", "a b", "a\n", "é", "+", "a" * 129, "a*", "a?b", "@a"]
)
def test_subjects_that_are_not(subject: str) -> None:
    with pytest.raises(InvalidInput):
        check_subject(subject)


@pytest.mark.parametrize("subject", ["a/b", "groups/team", "/a", "a/", "../x", "https://idp.example.org/users/7"])
def test_a_subject_with_a_slash_is_told_so(subject: str) -> None:
    """It could name the folder of a group, ``groups/team``."""
    with pytest.raises(InvalidInput, match="has a slash, so it would name a folder of somebody else in the vault"):
        check_subject(subject)


def test_a_group_repository_lies_with_the_group_and_a_personal_one_with_the_subject() -> None:
    personal = Owner("alice", "sub-1")
    group = Owner("alice", "sub-1", Kind.GROUP, "physics")
    assert (personal.label, personal.vault_prefix) == ("alice", "sub-1/cvmfs_keys")
    assert (group.label, group.vault_prefix) == ("physics", "groups/physics/cvmfs_keys")


@pytest.mark.parametrize(("kind", "group"), [(Kind.GROUP, None), (Kind.PERSONAL, "physics")])
def test_kind_and_group_must_agree(kind: Kind, group: str | None) -> None:
    with pytest.raises(InvalidInput, match="group repository"):
        Owner("alice", "sub-1", kind, group)


def test_no_personal_path_can_be_a_group_path() -> None:
    with pytest.raises(InvalidInput, match="reserved"):
        Owner("alice", "groups")


def test_a_name_without_domain_is_refused() -> None:
    with pytest.raises(InvalidInput, match="has no domain"):
        RepositoryName.parse("alice")


LABELS = st.from_regex(r"[a-z0-9][a-z0-9-]{1,20}[a-z0-9]", fullmatch=True)


@settings(derandomize=True, max_examples=200)
@given(label=LABELS)
def test_parsing_a_printed_name_gives_the_name(label: str) -> None:
    name = RepositoryName(label, DOMAIN)
    assert RepositoryName.parse(str(name)) == name
    assert len(str(name)) <= MAX_REPOSITORY_NAME


@settings(derandomize=True, max_examples=400)
@given(text=st.text(max_size=80) | st.text(alphabet=string.ascii_lowercase + "-./", max_size=80))
def test_any_text_is_a_clean_name_or_refused(text: str) -> None:
    try:
        name = RepositoryName.parse(text)
    except InvalidInput:
        return
    assert str(name) == text
    assert set(text) <= set(string.ascii_lowercase + string.digits + "-.")
    assert len(name.label) >= MIN_LABEL
    assert len(text) <= MAX_REPOSITORY_NAME
    assert name.bucket == name.label


@settings(derandomize=True, max_examples=400)
@given(text=st.text(max_size=140))
def test_any_subject_is_one_harmless_path_segment_or_refused(text: str) -> None:
    try:
        check_subject(text)
    except InvalidInput:
        return
    assert "/" not in text
    assert text not in {".", "..", "groups", ""}
    assert text.isascii()
    assert text.isprintable()
