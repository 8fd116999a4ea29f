"""Tag databases: what is written is read again, and whatever else comes raises our error or is a tag database."""

import string

from hypothesis import given, settings
from hypothesis import strategies as st

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, hash_bytes
from softman.cvmfs.format.history import History, Tag, is_tag_name

REPOSITORY = "a.example.org"
numbers = st.integers(min_value=0, max_value=2**62)
hashes = st.builds(ContentHash, st.binary(min_size=20, max_size=20), st.sampled_from(HashAlgorithm))
names = st.text(string.ascii_letters + string.digits + "-_./:", min_size=1, max_size=40)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
tags = st.builds(Tag, names, hashes, numbers, numbers, numbers, texts)
histories = st.builds(
    History,
    st.just(REPOSITORY),
    st.lists(tags, max_size=8, unique_by=lambda tag: tag.name).map(tuple),
    previous=st.none() | hashes.filter(lambda content: any(content.digest)),
)
SAMPLE = History(REPOSITORY, tuple(Tag(f"t{n}", hash_bytes(b"%d" % n), n, n, n, "text") for n in range(30))).to_bytes()


@settings(derandomize=True, deadline=None)
@given(histories)
def test_round_trip(history: History) -> None:
    assert History.parse(history.to_bytes(), REPOSITORY) == history


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=12))
def test_damaged_databases(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SAMPLE)
    for place, value in changes:
        data[place] = value
    try:
        history = History.parse(bytes(data), REPOSITORY)
    except FormatError:
        return
    assert history.repository == REPOSITORY
    assert all(tag.name and tag.revision >= 0 for tag in history.tags)


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=3000))
def test_anything_else(data: bytes) -> None:
    try:
        History.parse(data, REPOSITORY)
    except FormatError:
        return
    raise AssertionError("random bytes are no tag database")


@settings(derandomize=True, deadline=None)
@given(names)
def test_all_names_of_these_characters_can_be_tags(name: str) -> None:
    assert is_tag_name(name) == (name not in {"trunk", "trunk-previous"})
