"""Directories, revisions and differences in pages."""

from collections.abc import Iterator

import pytest

from softman.cvmfs.errors import StoreUnavailable
from softman.cvmfs.reader import RepositoryReader
from softman.errors import InvalidInput, NotFound
from softman.names import RepositoryName
from softman.services import browsing
from softman.services.browsing import Browser, Change
from tests.support.world import World


@pytest.fixture
def name(world: World) -> RepositoryName:
    return world.provision()


@pytest.fixture
def browser(world: World) -> Iterator[Browser]:
    browser = Browser(world.reader, clock=world.clock.unix)
    yield browser
    browser.close()


def _publish(world: World, name: RepositoryName, *keys: str) -> None:
    for key in keys:
        world.buckets.put(name.bucket, f"cvmfs/{key}", key.encode())
    world.sync(name, *(f"cvmfs/{key}" for key in keys))
    world.clock.tick(browsing.FRESH + 1)


def test_a_directory_comes_in_pages_by_name(world: World, name: RepositoryName, browser: Browser) -> None:
    _publish(world, name, "b/x", "a", "c", "b-", "d/y/z")
    first = browser.directory(name, b"", limit=2)
    assert ([item.name for item in first.items], first.after) == ([b"a", b"b"], b"b")
    rest = browser.directory(name, b"", after=b"b", limit=10)
    assert ([item.name for item in rest.items], rest.after) == ([b"b-", b"c", b"d"], None)
    assert [item.kind for item in rest.items] == ["file", "file", "directory"]
    assert browser.directory(name, b"/d/y", limit=5).items[0].path == b"/d/y/z"


def test_an_entry_has_its_metadata(world: World, name: RepositoryName, browser: Browser) -> None:
    _publish(world, name, "bin/tool")
    item = browser.entry(name, b"/bin/tool")
    assert (item.name, item.kind, item.size, item.mode) == (b"tool", "file", 8, 0o644)
    assert item.content is not None
    with pytest.raises(NotFound):
        browser.entry(name, b"/bin/other")
    with pytest.raises(NotFound):
        browser.directory(name, b"/bin/tool", limit=1)


def test_earlier_revisions_can_be_looked_at_and_compared(world: World, name: RepositoryName, browser: Browser) -> None:
    _publish(world, name, "a", "b")
    _publish(world, name, "c/d")
    world.buckets.delete(name.bucket, "cvmfs/a")
    world.buckets.put(name.bucket, "cvmfs/b", b"longer")
    world.sync(name, "cvmfs/a", "cvmfs/b")
    world.clock.tick(browsing.FRESH + 1)
    newest, *older = browser.revisions(name, limit=10).revisions
    assert newest.current
    assert [revision.number for revision in (newest, *older)] == [4, 3, 2, 1]
    assert [item.name for item in browser.directory(name, b"", limit=9, revision=2).items] == [b"a", b"b"]
    found = browser.differences(name, 2, 4, after=None, limit=10)
    assert [(change.change, change.path) for change in found.changes] == [
        ("removed", b"/a"),
        ("changed", b"/b"),
        ("added", b"/c"),
        ("added", b"/c/d"),
    ]
    assert found.changes[1] == Change("changed", b"/b", ("content",), 1, 6) or "content" in found.changes[1].what
    with pytest.raises(NotFound):
        browser.directory(name, b"", limit=1, revision=9)


def test_revisions_and_changes_come_in_pages(world: World, name: RepositoryName, browser: Browser) -> None:
    for number in range(5):
        _publish(world, name, f"dir{number}/file", f"dir{number}-")
    numbers, after = [], None
    while True:
        page = browser.revisions(name, after=after, limit=2)
        numbers += [revision.number for revision in page.revisions]
        after = page.after
        if after is None:
            break
    assert numbers == [6, 5, 4, 3, 2, 1]
    paths: list[bytes] = []
    last: bytes | None = None
    while True:
        changes = browser.differences(name, 1, 6, after=last, limit=2)
        paths += [change.path for change in changes.changes]
        last = changes.after
        if last is None:
            break
    assert paths == sorted(paths, key=lambda path: path.split(b"/"))
    assert len(set(paths)) == len(paths) == 15
    with pytest.raises(InvalidInput):
        browser.revisions(name, after="nonsense", limit=2)
    with pytest.raises(NotFound):
        browser.revisions(name, after="ab" * 20, limit=2)


def test_what_is_open_is_bounded_and_closed(
    world: World, name: RepositoryName, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "MAX_OPEN", 2)
    for number in range(4):
        _publish(world, name, f"file{number}")
    for revision in (1, 2, 3, 4, 2):
        browser.directory(name, b"", limit=1, revision=revision)
    kept = list(browser._open.values())
    assert len(kept) == 2
    assert not any(held.users for held in kept)
    browser.close()
    assert not browser._open
    assert not any(held.snapshot.catalog_path.exists() for held in kept)


def test_what_was_read_serves_while_the_web_server_is_away(world: World, name: RepositoryName) -> None:
    away = False

    class Away(RepositoryReader):
        def manifest(self) -> object:  # type: ignore[override]  # never returns
            msg = "the server does not answer"
            raise StoreUnavailable(msg)

    def open_reader(wanted: RepositoryName) -> RepositoryReader:
        reader = world.reader(wanted)
        if away:
            reader.__class__ = Away
        return reader

    browser = Browser(open_reader, clock=world.clock.unix)
    _publish(world, name, "a")
    assert browser.usage(name).entries
    away = True
    world.clock.tick(browsing.FRESH + 1)
    assert [item.name for item in browser.directory(name, b"", limit=5).items] == [b"a"]
