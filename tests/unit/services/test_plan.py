"""The streaming merge: generated buckets and trees against a model, and the orders that go wrong easily."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from softman.cvmfs.format.entry import Entry
from softman.model import BucketObject, Part, Refusal
from softman.services.configuration import parse_configuration
from softman.services.mapping import PUBLISHER_XATTR, SOURCE_XATTR, Rules, Target, TargetKind
from softman.services.plan import WHOLE, Difference, Look, Step, Unmark, Vanished, looks, walk

NAMES = st.sampled_from(
    [
        "a",
        "a-b",
        "a.",
        "a0",
        "b",
        "a b",
        "ä",
        "A",
        "a!",
        "a.rclonelink",
        "a.tar",
        "a.tar.gz",
        "a-b.tar",
        "a.rclonelinks",
    ]
)
RULES = Rules("alice.example.org")
FLAGS = {TargetKind.FILE: 4, TargetKind.LINK: 4 | 8}
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


def item(key: str, etag: str = "1") -> BucketObject:
    return BucketObject(key, 1, etag, 1700000000.25)


class Tree:
    """A repository as a dict; directories on the way to an entry stand by themselves, without a mark."""

    def __init__(self, items: Iterable[BucketObject], rules: Rules = RULES) -> None:
        self.entries: dict[bytes, Entry] = {}
        for source in items:
            where = target(source.key, rules)
            self.add(where.path, FLAGS.get(where.kind, 1), rules.mark(where, source))
            if where.kind is TargetKind.ARCHIVE:
                self.add(where.path + b"/member", 4)

    def add(self, path: bytes, flags: int, mark: bytes | None = None) -> None:
        self.entries[path] = Entry(path, 0, 1, 0, flags=flags, xattrs={SOURCE_XATTR: mark} if mark else {})
        while path := path.rpartition(b"/")[0]:
            self.entries.setdefault(path, Entry(path, 0, 0, 0, flags=1))

    def walk(
        self, *, arrange: Callable[[Iterator[Entry]], Iterator[Entry]], enter: Callable[[Entry], bool], top: bytes = b""
    ) -> Iterator[Entry]:
        children = sorted((e for e in self.entries.values() if e.path and e.parent == top), key=lambda e: e.path)
        for entry in arrange(iter(children)):
            yield entry
            if entry.is_dir and enter(entry):
                yield from self.walk(arrange=arrange, enter=enter, top=entry.path)


def target(key: str, rules: Rules = RULES) -> Target:
    found = rules.target_of(key)
    assert isinstance(found, Target)
    return found


def consistent(keys: Iterable[str]) -> list[BucketObject]:
    """Objects in S3's order, of which no two claim one path."""
    chosen = sorted({f"cvmfs/{key}" for key in keys}, key=str.encode)
    paths: dict[bytes, str] = {}
    for key in chosen:
        paths.setdefault(target(key).path, key)
    folders = {path[:end] for path in paths for end in range(1, len(path)) if path[end : end + 1] == b"/"}
    return [item(key) for key in chosen if paths[target(key).path] == key and target(key).path not in folders]


def plan(
    listing: list[BucketObject],
    shown: Tree,
    known: dict[str, Refusal] | None = None,
    rules: Rules = RULES,
    part: Part = WHOLE,
    **options: Any,
) -> list[Step]:
    selected = [each for each in listing if each.key.startswith(part.prefix) and each.key > part.after]
    return list(Difference(rules, known or {}, **options).steps(selected, walk(shown, part)))


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
    keys = [key for key, _, _ in walk(tree)]
    assert keys == [b"cvmfs/a-b", b"cvmfs/a.txt", b"cvmfs/a/", b"cvmfs/a/x", b"cvmfs/a0", b"cvmfs/b/"]


@given(st.lists(PATHS, max_size=25))
def test_the_walk_is_that_of_the_keys_it_came_from(keys: list[str]) -> None:
    objects = consistent(keys)
    marked = [key for key, _, mark in walk(Tree(objects)) if mark]
    assert marked == [each.key.encode() for each in objects]
    everything = [key for key, _, _ in walk(Tree(objects))]
    assert everything == sorted(everything)


@given(st.lists(PATHS, max_size=20), PATHS, PATHS)
def test_a_part_is_all_of_the_whole_in_its_bounds(keys: list[str], prefix: str, after: str) -> None:
    tree = Tree(consistent(keys))
    whole = list(walk(tree))
    for part in (Part("cvmfs/" + prefix), Part(after="cvmfs/" + after), Part("cvmfs/" + prefix, "cvmfs/" + after)):
        first, last = part.prefix.encode(), part.after.encode()
        wanted = [found for found in whole if found[0].startswith(first) and found[0] > last]
        assert list(walk(tree, part)) == wanted


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
    assert [s.target.key if isinstance(s, Look) else getattr(s, "key", "") for s in steps] == [
        "cvmfs/../x",
        "cvmfs/a",
        "cvmfs/b//c",
    ]


def test_members_of_archives_are_not_compared() -> None:
    objects = [item("cvmfs/x.tar.gz")]
    tree = Tree(objects)
    tree.add(b"/x/y/z", 4)
    assert plan(objects, tree) == []
    assert plan([], tree) == [Vanished(target("cvmfs/x.tar.gz"))]
    assert plan([item("cvmfs/x.tar.gz", "2")], tree) == [Look(target("cvmfs/x.tar.gz"))]


def test_markers_of_our_own_are_left_alone() -> None:
    tree = Tree([item("cvmfs/d/f")])
    for name in (b"/.cvmfsdirtab", b"/d/.cvmfscatalog", b"/d/.cvmfsautocatalog"):
        tree.add(name, 4)
    assert plan([item("cvmfs/d/f")], tree) == []
    deep = Rules("alice.example.org", parse_configuration(b"[catalogs]\ndepth = 1"))
    assert plan([item("cvmfs/d/f")], tree, rules=deep, settled=False) == []
    unwanted = plan([item("cvmfs/d/f")], tree, settled=False)
    assert unwanted == [Unmark(b"/d/.cvmfscatalog")]
    assert plan([], Tree([item("cvmfs/d/.cvmfscatalog")])) == [Vanished(target("cvmfs/d/.cvmfscatalog"))]


def test_what_somebody_made_by_hand_vanishes() -> None:
    tree = Tree([])
    tree.add(b"/f", 4)
    tree.add(b"/l", 4 | 8)
    assert plan([], tree) == [
        Vanished(Target("cvmfs/f", b"/f")),
        Vanished(Target("cvmfs/l", b"/l", TargetKind.LINK)),
    ]


def test_what_publishers_wrote_through_the_gateway_stays() -> None:
    tree = Tree([])
    tree.add(b"/f", 4)
    tree.entries[b"/f"] = replace(tree.entries[b"/f"], xattrs={PUBLISHER_XATTR: b"key"})
    assert plan([], tree) == []
    assert plan([item("cvmfs/f")], tree) == [Look(target("cvmfs/f"))]  # the bucket wins


def test_marks_of_the_first_version_are_looked_at_again() -> None:
    tree = Tree([])
    for path in (b"/a", b"/l.rclonelink", b"/x.tar"):
        tree.add(path, 4, b"1 1 1700000000")
    objects = [item("cvmfs/a"), item("cvmfs/l.rclonelink"), item("cvmfs/x.tar")]
    assert plan(objects, tree) == [Look(target(each.key)) for each in objects]


def test_a_key_that_is_shown_twice_is_looked_at() -> None:
    objects = [item("cvmfs/l.rclonelink"), item("cvmfs/z")]
    tree = Tree(objects)
    tree.add(b"/l.rclonelink", 4, b"1 1 1700000000")
    assert set(plan(objects, tree)) == {Look(target("cvmfs/l.rclonelink"))}


def test_other_rules_move_what_is_shown() -> None:
    objects = [item("cvmfs/a.tmp"), item("cvmfs/x.tar"), item("cvmfs/y")]
    rules = Rules("alice.example.org", parse_configuration(b"ignore = ['*.tmp']\n[unpack]\nenabled = false"))
    assert plan(objects, Tree(objects), rules=rules, settled=False) == [
        Vanished(target("cvmfs/a.tmp")),
        Look(Target("cvmfs/x.tar", b"/x.tar")),
    ]
    assert plan(objects, Tree(objects), rules=rules, settled=True) == []


def test_an_archive_kept_plain_by_its_metadata_stays() -> None:
    listed = item("cvmfs/x.tar")
    tree = Tree([])
    tree.add(b"/x.tar", 4, RULES.mark(Target("cvmfs/x.tar", b"/x.tar"), listed))
    assert plan([listed], tree) == []
    assert plan([listed], tree, settled=False) == []


def test_verifying_looks_at_everything() -> None:
    objects = [item("cvmfs/a"), item("cvmfs/b/")]
    assert plan(objects, Tree(objects), verify=True) == [Look(target(each.key), verify=True) for each in objects]


def test_some_keys_are_looked_at_in_the_order_of_s3() -> None:
    steps = list(looks({"cvmfs/b", "cvmfs/a/", "cvmfs/a-b", "elsewhere", "cvmfs/.softman.toml"}, RULES))
    assert steps == [Look(target(key)) for key in ("cvmfs/a-b", "cvmfs/a/", "cvmfs/b")]
