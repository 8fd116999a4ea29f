"""The mapping table, row by row, and what must hold for any key."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softman.cvmfs.format.entry import Entry, Flag
from softman.model import BucketObject, Refusal
from softman.services.configuration import parse_configuration
from softman.services.mapping import (
    SOURCE_XATTR,
    Rules,
    SiteRules,
    Target,
    TargetKind,
    claimants,
    key_of,
    places,
    source_key,
)

RULES = Rules("alice.example.org")
target_of = RULES.target_of


def item(key: str = "cvmfs/a", *, etag: str = "e", modified: float = 1700000000.5, **metadata: str) -> BucketObject:
    return BucketObject(key, 3, etag, modified, metadata)


@pytest.mark.parametrize(
    ("key", "path", "is_directory"),
    [
        ("cvmfs/a", b"/a", False),
        ("cvmfs/a/b.txt", b"/a/b.txt", False),
        ("cvmfs/a/", b"/a", True),
        ("cvmfs/a/b/", b"/a/b", True),
        ("cvmfs/ä/é", "/ä/é".encode(), False),
        ("cvmfs/e\u0301", "/e\u0301".encode(), False),
        ("cvmfs/UPPER/lower", b"/UPPER/lower", False),
        ("cvmfs/100%25", b"/100%25", False),
        ("cvmfs/a+b c", b"/a+b c", False),
        ("cvmfs/" + "x" * 255, b"/" + b"x" * 255, False),
        ("cvmfs/a/.cvmfsfoo", b"/a/.cvmfsfoo", False),
        ("cvmfs/...", b"/...", False),
        ("cvmfs/.tar", b"/.tar", False),
        ("cvmfs/a/.rclonelink", b"/a/.rclonelink", False),
        ("cvmfs/...tar", b"/...tar", False),
        ("cvmfs/a/..rclonelink", b"/a/..rclonelink", False),
        ("cvmfs/x.TAR", b"/x.TAR", False),
        ("cvmfs/a/.cvmfscatalog", b"/a/.cvmfscatalog", False),
        ("cvmfs/a/.softman.toml", b"/a/.softman.toml", False),
    ],
)
def test_published_keys(key: str, path: bytes, is_directory: bool) -> None:
    assert target_of(key) == Target(key, path, TargetKind.DIRECTORY if is_directory else TargetKind.FILE)


@pytest.mark.parametrize(
    "key", ["cvmfs/", "cvmfs", "other/a", "", "cvmf/a", "/cvmfs/a", "Cvmfs/a", "cvmfs/.softman.toml"]
)
def test_keys_that_say_nothing(key: str) -> None:
    assert target_of(key) is None


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("cvmfs/../etc/passwd", "'..'"),
        ("cvmfs/a/../../b", "'..'"),
        ("cvmfs/./a", "'.'"),
        ("cvmfs/a/..", "'..'"),
        ("cvmfs//a", "two slashes"),
        ("cvmfs/a//b", "two slashes"),
        ("cvmfs/a//", "two slashes"),
        ("cvmfs//", "two slashes"),
        ("cvmfs/a\nb", "control"),
        ("cvmfs/a\x00b", "control"),
        ("cvmfs/a\x7f", "control"),
        ("cvmfs/" + "x" * 256, "256 bytes"),
        ("cvmfs/" + "ä" * 128, "256 bytes"),
        ("cvmfs/.cvmfspublished", "reserved"),
        ("cvmfs/.cvmfs/x", "reserved"),
        ("cvmfs/.cvmfsdirtab", "reserved"),
        ("cvmfs/.cvmfscatalog", "reserved"),
        ("cvmfs/.cvmfs.tar", "reserved"),
        ("cvmfs/.cvmfs.rclonelink", "reserved"),
        ("cvmfs/a/.cvmfscatalog/", "plain file"),
        ("cvmfs/a/.cvmfscatalog/b", "plain file"),
        ("cvmfs/a/.cvmfscatalog.tar", "plain file"),
        ("cvmfs/a/.cvmfscatalog.rclonelink", "plain file"),
        ("cvmfs/a/.cvmfsautocatalog", "softman makes"),
        ("cvmfs/a/.cvmfsautocatalog/x", "softman makes"),
        ("cvmfs/a\udce9", "Unicode"),
    ],
)
def test_refused_keys(key: str, word: str) -> None:
    refusal = target_of(key)
    assert isinstance(refusal, Refusal)
    assert refusal.key == key
    assert word in refusal.reason


@given(st.text(max_size=300))
def test_any_key_is_confined(text: str) -> None:
    target = target_of("cvmfs/" + text)
    if isinstance(target, Target):
        names = target.path.split(b"/")
        assert names[0] == b""
        assert all(name not in {b"", b".", b".."} and len(name) <= 255 and b"\0" not in name for name in names[1:])
        assert target.path in set(places(target.key))
        if target.kind in {TargetKind.FILE, TargetKind.DIRECTORY}:
            assert key_of(target.path, is_directory=target.is_directory) == target.key
        else:
            assert target.key in set(claimants(target.path))


@pytest.mark.parametrize(
    ("key", "path", "kind"),
    [
        ("cvmfs/a/l.rclonelink", b"/a/l", TargetKind.LINK),
        ("cvmfs/x.tar", b"/x", TargetKind.ARCHIVE),
        ("cvmfs/x.tar.gz", b"/x", TargetKind.ARCHIVE),
        ("cvmfs/a/x.tgz", b"/a/x", TargetKind.ARCHIVE),
        ("cvmfs/x.tar.xz", b"/x", TargetKind.ARCHIVE),
        ("cvmfs/x.tar.zst", b"/x", TargetKind.ARCHIVE),
        ("cvmfs/x.tar.bz2", b"/x", TargetKind.ARCHIVE),
        ("cvmfs/x.tar.rclonelink", b"/x.tar", TargetKind.LINK),
        ("cvmfs/x.rclonelink.tar", b"/x.rclonelink", TargetKind.ARCHIVE),
        ("cvmfs/" + "x" * 255 + ".tar.gz", b"/" + b"x" * 255, TargetKind.ARCHIVE),
    ],
)
def test_links_and_archives(key: str, path: bytes, kind: TargetKind) -> None:
    assert target_of(key) == Target(key, path, kind)


@pytest.mark.parametrize(
    ("configuration", "site", "unpacked", "plain"),
    [
        ("", SiteRules(), ["x.tar", "a/x.tar"], []),
        ("", SiteRules(unpack=False), [], ["x.tar"]),
        ("", SiteRules(unpack_below=("software/",)), ["software/a/x.tgz"], ["x.tar", "softwares/x.tar"]),
        ("[unpack]\nenabled = false", SiteRules(), [], ["x.tar"]),
        ("[unpack]\nenabled = true", SiteRules(unpack=False), ["x.tar"], []),
        ("[unpack]\nbelow = ['a', '/b/c/']", SiteRules(), ["a/x.tar", "b/c/x.tar"], ["x.tar", "b/x.tar", "ab/x.tar"]),
        ("[unpack]\nbelow = []", SiteRules(), [], ["x.tar"]),
        ("[unpack]\nbelow = ['/']", SiteRules(unpack_below=("a/",)), ["x.tar"], []),
        ("[unpack]\nkeep = ['*.tgz', 'data/']", SiteRules(), ["x.tar"], ["x.tgz", "data/x.tar", "a/data/b/x.tar"]),
    ],
)
def test_which_archives_are_unpacked(
    configuration: str, site: SiteRules, unpacked: list[str], plain: list[str]
) -> None:
    rules = Rules("alice.example.org", parse_configuration(configuration.encode()), site)
    for key in unpacked + plain:
        found = rules.target_of(f"cvmfs/{key}")
        assert isinstance(found, Target)
        assert found.kind is (TargetKind.ARCHIVE if key in unpacked else TargetKind.FILE)


def test_what_the_owner_ignores_says_nothing() -> None:
    rules = Rules("alice.example.org", parse_configuration(b"ignore = ['*.tmp', '.git/', '!keep.tmp', '/top']"))
    ignored = ["a.tmp", "b/a.tmp", ".git/config", "x/.git/", "x/.git/y", "top", "top/x"]
    shown = ["keep.tmp", "a.tmp2", "git/x", "b/top", "x.git"]
    assert [key for key in ignored if rules.target_of(f"cvmfs/{key}") is not None] == []
    assert [key for key in shown if not isinstance(rules.target_of(f"cvmfs/{key}"), Target)] == []


def test_metadata_settle_what_a_key_is() -> None:
    archive, plain = target("cvmfs/a/x.tar"), target("cvmfs/a/x")
    assert RULES.settle(archive, item(archive.key, unpack="false")) == Target(archive.key, b"/a/x.tar")
    assert RULES.settle(archive, item(archive.key, unpack="true")) == archive
    assert RULES.settle(plain, item(plain.key, mode="41471")) == Target(plain.key, b"/a/x", TargetKind.LINK)
    assert RULES.settle(plain, item(plain.key, mode="33188")) == plain
    refusal = RULES.settle(target("cvmfs/d/"), item("cvmfs/d/"))
    assert isinstance(refusal, Refusal)
    assert "cannot have content" in refusal.reason
    long = target("cvmfs/" + "x" * 255 + ".tar")
    assert isinstance(RULES.settle(long, item(long.key, unpack="false")), Refusal)


@pytest.mark.parametrize(
    ("path", "text", "accepted"),
    [
        (b"/l", b"x", True),
        (b"/l", b"a/b/c", True),
        (b"/l", b"x\n", True),
        (b"/l", b"..", False),
        (b"/l", b"../x", False),
        (b"/a/l", b"../x", True),
        (b"/a/l", b"../../x", False),
        (b"/a/b/l", b"../../x", True),
        (b"/a/b/l", b"../../../etc/passwd", False),
        (b"/a/l", b"b/../c", False),
        (b"/a/l", b"./x", True),
        (b"/l", b"/cvmfs/alice.example.org/x", True),
        (b"/l", b"/cvmfs/alice.example.org", True),
        (b"/l", b"/cvmfs/alice.example.org/../bob.example.org", False),
        (b"/l", b"/cvmfs/alice.example.orgs/x", False),
        (b"/l", b"/etc/passwd", False),
        (b"/l", b"//cvmfs/alice.example.org/x", False),
        (b"/l", b"", False),
        (b"/l", b"\n", False),
        (b"/l", b"a\0b", False),
        (b"/l", b"a\nb", False),
        (b"/l", b"x" * 4095, True),
        (b"/l", b"x" * 4096, False),
        (b"/l", "ü".encode(), True),
        (b"/l", b"\xff", True),
        (b"/l", b"$(NONE:-/etc/passwd)", False),
    ],
)
def test_links_stay_inside(path: bytes, text: bytes, accepted: bool) -> None:
    found = RULES.link(Target("cvmfs/l.rclonelink", path, TargetKind.LINK), text)
    assert isinstance(found, bytes) is accepted
    if accepted:
        assert found == text.removesuffix(b"\n")


def test_links_may_lead_anywhere_where_the_site_allows_it() -> None:
    rules = Rules("alice.example.org", None, SiteRules(links_anywhere=True))
    link = target("cvmfs/l.rclonelink")
    assert rules.link(link, b"/etc/passwd") == b"/etc/passwd"
    assert rules.link(link, b"../../x") == b"../../x"
    assert isinstance(rules.link(link, b""), Refusal)


@pytest.mark.parametrize(
    ("head", "mode"),
    [(b"#!/bin/sh", 0o755), (b"\x7fELF", 0o755), (b"", 0o644), (b"#", 0o644), (b"text", 0o644), (b"\x7fEL", 0o644)],
)
def test_executables_by_their_first_bytes(head: bytes, mode: int) -> None:
    assert RULES.mode(target("cvmfs/a"), item(), head[:4]) == mode


def test_metadata_wins_over_first_bytes_and_configured_modes() -> None:
    rules = Rules("a.b", parse_configuration(b"[modes]\nfile = '0600'\nexecutable = '0700'\ndirectory = '0750'"))
    assert rules.mode(target("cvmfs/a"), item(mode="33188"), b"#!/b") == 0o644
    assert rules.mode(target("cvmfs/a"), item(), b"#!/b") == 0o700
    assert rules.mode(target("cvmfs/a"), item(), b"text") == 0o600
    assert rules.mode(target("cvmfs/a/"), item("cvmfs/a/"), b"") == 0o750


def test_the_mark_is_short_and_ignores_fractions() -> None:
    plain = target("cvmfs/a")
    assert RULES.mark(plain, item(modified=1.0)) == RULES.mark(plain, item(modified=1.999)) == b"2 e 1"
    assert RULES.mark(plain, item(etag="a")) != RULES.mark(plain, item(etag="b"))
    archive = target("cvmfs/" + "x" * 255 + ".tar.zst")
    assert len(RULES.mark(archive, item(archive.key, etag="é" * 5000))) <= 255


@pytest.mark.parametrize(
    ("key", "metadata", "form"),
    [
        ("cvmfs/a", {}, b""),
        ("cvmfs/a/", {}, b""),
        ("cvmfs/a/l.rclonelink", {}, b" .rclonelink"),
        ("cvmfs/a/x.tar.gz", {}, b" .tar.gz"),
        ("cvmfs/a/x.tgz", {"unpack": "false"}, b" ="),
        ("cvmfs/a/s3fs", {"mode": "41471"}, b""),
    ],
)
def test_the_mark_leads_back_to_the_key(key: str, metadata: dict[str, str], form: bytes) -> None:
    info = BucketObject(key, 0, "e", 5.5, metadata)
    settled = RULES.settle(target(key), info)
    assert isinstance(settled, Target)
    entry = entry_of(settled, RULES.mark(settled, info))
    assert entry.xattrs[SOURCE_XATTR] == b"2 e 5" + form
    assert source_key(entry) == key
    assert RULES.shows(entry, info)
    assert RULES.fits(entry, target(key))
    assert not RULES.shows(entry, replace(info, etag="f"))
    assert not RULES.shows(entry, replace(info, last_modified=6.0))


def test_other_modes_are_another_mark() -> None:
    rules = Rules("alice.example.org", parse_configuration(b"[modes]\nfile = '0600'"))
    plain, archive = target("cvmfs/a"), target("cvmfs/x.tar")
    assert rules.mark(plain, item()) == b"2 e 1700000000 - 600.755.755"
    assert rules.mark(archive, item()) == b"2 e 1700000000 .tar"
    assert rules.shows(entry_of(plain, rules.mark(plain, item())), item())
    assert not rules.shows(entry_of(plain, RULES.mark(plain, item())), item())
    assert not RULES.shows(entry_of(plain, rules.mark(plain, item())), item())
    assert rules.shows(entry_of(archive, rules.mark(archive, item())), item())


def test_a_mark_of_the_first_version_is_of_no_object() -> None:
    assert not RULES.shows(entry_of(target("cvmfs/a"), b"1 e 1700000000"), item())
    assert not RULES.shows(Entry(b"/a", 0, 0, 0), item())


def test_the_first_in_the_order_of_s3_wins() -> None:
    names = list(claimants(b"/a/x"))
    assert names == sorted(names)
    assert names[:3] == ["cvmfs/a/x", "cvmfs/a/x.rclonelink", "cvmfs/a/x.tar"]
    assert {target(name).path for name in names} == {b"/a/x"}


def test_fingerprints_tell_rules_apart() -> None:
    other = [
        Rules("a.b", parse_configuration(b"ignore = ['x']")),
        Rules("a.b", parse_configuration(b"# comment")),
        Rules("a.b", None, SiteRules(unpack=False)),
    ]
    assert Rules("a.b").fingerprint == Rules("c.d", parse_configuration(b""), SiteRules()).fingerprint == b""
    assert len({rules.fingerprint for rules in other} - {b""}) == len(other)


def target(key: str) -> Target:
    found = target_of(key)
    assert isinstance(found, Target)
    return found


def entry_of(settled: Target, mark: bytes) -> Entry:
    flags = {TargetKind.FILE: Flag.FILE, TargetKind.LINK: Flag.FILE | Flag.SYMLINK}.get(settled.kind, Flag.DIRECTORY)
    return Entry(settled.path, 0, 0, 0, flags=flags.value, xattrs={SOURCE_XATTR: mark})
