"""The streaming merge: generated buckets and trees against a model, and the orders that go wrong easily."""

from collections.abc import Iterable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from softman.cvmfs.format.entry import Entry
from softman.model import BucketObject, Refusal
from softman.services.mapping import SOURCE_XATTR, Target, source_mark, target_of
from softman.services.plan import Look, Step, Vanished, difference, walk_by_key

NAMES = st.sampled_from(["a", "a-b", "a.", "a0", "b", "a b", "ä", "A", "a/", "a!"]).map(lambda s: s.strip("/"))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


def item(key: str, etag: str = "1") -> BucketObject:
    return BucketObject(key, 1, etag, 1700000000.25)


class Tree:
    """A repository as a dict; directories on the way to an entry stand by themselves, without a mark."""

    def __init__(self, items: Iterable[BucketObject]) -> None:
        self.entries: dict[bytes, Entry] = {}
        for source in items:
            inner = source.key.removeprefix("cvmfs/")
            path = b"/" + inner.removesuffix("/").encode()
            self._parents(path)
            is_directory = inner.endswith("/")
            self.entries[path] = Entry(
                path, 0, 1, 0, flags=1 if is_directory else 4, xattrs={SOURCE_XATTR: source_mark(source)}
            )

    def _parents(self, path: bytes) -> None:
        while path := path.rpartition(b"/")[0]:
            self.entries.setdefault(path, Entry(path, 0, 0, 0, flags=1))

    def listdir(self, path: bytes) -> Iterator[Entry]:
        return iter(sorted((e for e in self.entries.values() if e.path and e.parent == path), key=lambda e: e.path))


def consistent(keys: Iterable[str]) -> list[BucketObject]:
    """Objects in S3's order, without a key that is file and directory at once."""
    chosen = sorted({f"cvmfs/{key}" for key in keys}, key=str.encode)
    folders = {key[:end] for key in chosen for end in range(len(key)) if key[end] == "/"}
    return [item(key) for key in chosen if key not in folders]


def plan(listing: list[BucketObject], shown: Tree, known: dict[str, Refusal] | None = None) -> list[Step]:
    return list(difference(listing, walk_by_key(shown.listdir), known or {}))


def target(key: str) -> Target:
    found = target_of(key)
    assert isinstance(found, Target)
    return found


@given(st.lists(PATHS, max_size=25))
def test_nothing_to_do_when_both_agree(keys: list[str]) -> None:
    objects = consistent(keys)
    assert plan(objects, Tree(objects)) == []


@given(st.lists(PATHS, max_size=20), st.lists(PATHS, max_size=20), st.sets(PATHS, max_size=8))
def test_the_plan_is_the_difference(wanted: list[str], shown: list[str], changed: set[str]) -> None:
    bucket = [item(o.key, "2") if o.key.removeprefix("cvmfs/") in changed else o for o in consistent(wanted)]
    published = consistent(shown)
    steps = plan(bucket, Tree(published))
    old = {o.key: o.etag for o in published}
    new = {o.key: o.etag for o in bucket}
    assert [s.target.key for s in steps if isinstance(s, Look)] == [k for k in new if old.get(k) != new[k]]
    assert {s.target.key for s in steps if isinstance(s, Vanished)} == old.keys() - new.keys()


def test_the_walk_is_in_the_order_of_s3() -> None:
    tree = Tree(consistent(["a/x", "a-b", "a", "a.txt", "a0", "b/"]) + consistent(["a/x"]))
    keys = [key for key, _ in walk_by_key(tree.listdir)]
    assert keys == sorted(keys)
    assert keys == [b"cvmfs/a-b", b"cvmfs/a.txt", b"cvmfs/a/", b"cvmfs/a/x", b"cvmfs/a0", b"cvmfs/b/"]


def test_an_unmarked_directory_is_left_to_its_children() -> None:
    assert plan([], Tree(consistent(["d/f"]))) == [Vanished(target("cvmfs/d/f"))]


def test_a_marked_directory_without_marker_vanishes() -> None:
    steps = plan([item("cvmfs/d/f")], Tree([item("cvmfs/d/"), item("cvmfs/d/f")]))
    assert steps == [Vanished(target("cvmfs/d/"))]


def test_a_known_refusal_is_not_looked_at_again() -> None:
    known = Refusal("cvmfs/x", "why", "1")
    assert plan([item("cvmfs/x")], Tree([]), {"cvmfs/x": known}) == [known]
    assert [type(s) for s in plan([item("cvmfs/x", "2")], Tree([]), {"cvmfs/x": known})] == [Look]
    forgetful = Refusal("cvmfs/x", "why")
    assert [type(s) for s in plan([item("cvmfs/x", "")], Tree([]), {"cvmfs/x": forgetful})] == [Look]


def test_bad_keys_are_refused_and_the_rest_goes_on() -> None:
    steps = plan([item("cvmfs/../x"), item("cvmfs/a"), item("cvmfs/b//c")], Tree([]))
    assert [s.key if isinstance(s, Refusal) else s.target.key for s in steps] == [
        "cvmfs/../x",
        "cvmfs/a",
        "cvmfs/b//c",
    ]
