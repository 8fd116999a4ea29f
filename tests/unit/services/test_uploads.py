"""Uploads: what is said before, that it is what the sync then does, and how parts are followed."""

from dataclasses import replace

import pytest

from softman.adapters.memory_uploads import MemoryUploads
from softman.adapters.memory_vault import MemoryRegistry
from softman.adapters.vault_layout import Role
from softman.errors import Conflict, InvalidInput, NotFound
from softman.model import Quotas, RegistryRecord
from softman.names import Kind, RepositoryName
from softman.services.mapping import SiteRules, TargetKind
from softman.services.uploads import AT_ONCE, LocalFile, Uploads, part_size
from tests.support.tars import archive, member
from tests.support.world import World

MIB = 1024**2
REFUSED = ["", "a//b", "../a", "a/./b", "tab\there", "x" * 256, ".cvmfsdirtab", "a/.cvmfsautocatalog", "/a", "\ud800"]


@pytest.fixture
def name(world: World) -> RepositoryName:
    return world.provision()


@pytest.fixture
def record(world: World, name: RepositoryName) -> RegistryRecord:
    return recorded(world, name)


def recorded(world: World, name: RepositoryName) -> RegistryRecord:
    found = MemoryRegistry(Role.DASHBOARD, world.vault).get(name)
    assert found is not None
    return found


@pytest.fixture
def store(world: World) -> MemoryUploads:
    return MemoryUploads(world.buckets)


@pytest.fixture
def uploads(world: World, store: MemoryUploads) -> Uploads:
    return Uploads(store, lambda name: world.reader(name).snapshot(), SiteRules())


def put(world: World, name: RepositoryName, path: str, body: bytes = b"x") -> str:
    return world.buckets.put(name.bucket, f"cvmfs/{path}", body).etag


@pytest.mark.parametrize("path", REFUSED)
def test_what_a_sync_would_refuse_is_said_before(uploads: Uploads, record: RegistryRecord, path: str) -> None:
    file = LocalFile(path, 1)
    (planned,) = uploads.plan(record, [file]).files
    assert planned.reason
    assert not planned.shown
    for ask in (uploads.sign_put, uploads.begin):
        with pytest.raises(InvalidInput, match="cannot be published"):
            ask(record, file)


def test_places_and_kinds_are_those_of_the_sync(uploads: Uploads, record: RegistryRecord) -> None:
    paths = {"bin/tool": "/bin/tool", "a/x.tar.gz": "/a/x", "l.rclonelink": "/l", "empty/": "/empty"}
    planned = uploads.plan(record, [LocalFile(path, 0) for path in paths]).files
    assert [each.shown for each in planned] == list(paths.values())
    assert [each.kind for each in planned] == [
        TargetKind.FILE,
        TargetKind.ARCHIVE,
        TargetKind.LINK,
        TargetKind.DIRECTORY,
    ]


def test_what_would_be_replaced_is_said_with_its_size(world: World, uploads: Uploads, record: RegistryRecord) -> None:
    put(world, record.repository, "there", b"12345")
    put(world, record.repository, "archive.tar", archive(member(b"member", b"x")))
    put(world, record.repository, "folder/file")
    world.sync(record.repository)
    paths = ["there", "new", "archive.tar", "folder", "there/below"]
    replaces = [each.replaces for each in uploads.plan(record, [LocalFile(path, 1) for path in paths]).files]
    assert replaces[0] == 5
    assert replaces[2] is not None
    assert [replaces[1], *replaces[3:]] == [None, None, None]


def test_the_owners_settings_count(world: World, uploads: Uploads, record: RegistryRecord) -> None:
    put(world, record.repository, ".softman.toml", b'ignore = ["*.tmp"]\n[unpack]\nenabled = false\n')
    world.sync(record.repository)
    ignored, kept, own = uploads.plan(
        recorded(world, record.repository),
        [LocalFile("a.tmp", 1), LocalFile("a.tar", 1), LocalFile(".softman.toml", 9)],
    ).files
    assert "ignore" in (ignored.reason or "")
    assert (kept.shown, kept.kind) == ("/a.tar", TargetKind.FILE)
    assert own.reason is None


def test_quotas_count_and_what_is_left_is_said(world: World, uploads: Uploads, record: RegistryRecord) -> None:
    record = replace(record, quotas=Quotas(max_entries=10, max_bytes=100, max_object_bytes=50, max_archive_bytes=20))
    put(world, record.repository, "there", b"x" * 30)
    world.sync(record.repository)
    plan = uploads.plan(record, [LocalFile("a", 50), LocalFile("a", 51), LocalFile("a.tar", 21)])
    assert [each.reason for each in plan.files] == [
        None,
        "it has 51 bytes; a file may have 50",
        "it has 21 bytes; an archive may have 20",
    ]
    assert plan.bytes_left == 70
    assert plan.entries_left is not None
    assert plan.entries_left < 10


def test_names_are_judged_while_nothing_can_be_read(world: World, uploads: Uploads) -> None:
    name = world.stratum0.request("carol", "sub-carol", Kind.PERSONAL, None).repository
    plan = uploads.plan(recorded(world, name), [LocalFile("a//b", 1), LocalFile("a", 1)])
    assert [each.reason is None for each in plan.files] == [False, True]
    assert plan.bytes_left is None


@pytest.mark.parametrize(
    ("size", "part"), [(0, 0), (AT_ONCE, 0), (AT_ONCE + 1, AT_ONCE), (1024**4, 210 * MIB), (5 * 1024**4, 1049 * MIB)]
)
def test_parts_are_few_enough_and_large_enough(size: int, part: int) -> None:
    assert part_size(size) == part
    assert part == 0 or size / part <= 5000


def test_a_large_file_comes_in_parts_that_are_followed(
    world: World, uploads: Uploads, store: MemoryUploads, record: RegistryRecord
) -> None:
    file = LocalFile("big", 2 * AT_ONCE + 3, 1_700_000_000.5)
    with pytest.raises(InvalidInput, match="in parts"):
        uploads.sign_put(record, file)
    upload = uploads.begin(record, file)
    signed = uploads.sign_parts(record, file, upload, [1, 3])
    assert [signed[1].url.rpartition("size=")[2], signed[3].url.rpartition("size=")[2]] == [str(AT_ONCE), "3"]
    for number in (0, 4):
        with pytest.raises(InvalidInput, match=f"3 parts, and no part {number}"):
            uploads.sign_parts(record, file, upload, [number])
    store.receive(upload, 3, b"end")
    store.receive(upload, 1, b"cut off")
    assert uploads.arrived(record, file, upload) == [3]
    with pytest.raises(Conflict, match="part 1 of big has not arrived"):
        uploads.complete(record, file, upload)
    store.receive(upload, 1, b"a" * AT_ONCE)
    store.receive(upload, 2, b"b" * AT_ONCE)
    etag = uploads.complete(record, file, upload)
    found = world.buckets.head(record.repository.bucket, "cvmfs/big")
    assert found is not None
    assert (found.size, found.etag, found.metadata) == (file.size, etag, {"mtime": "1700000000.500"})


def test_an_upload_is_aborted_once_or_twice(uploads: Uploads, record: RegistryRecord) -> None:
    file = LocalFile("big", AT_ONCE + 1)
    upload = uploads.begin(record, file)
    uploads.abort(record, file, upload)
    uploads.abort(record, file, upload)
    with pytest.raises(NotFound):
        uploads.arrived(record, file, upload)


def test_published_is_what_is_shown_as_it_was_uploaded(world: World, uploads: Uploads, record: RegistryRecord) -> None:
    first = put(world, record.repository, "a", b"first")
    packed = put(world, record.repository, "x.tar", archive(member(b"member", b"x")))
    world.sync(record.repository)
    second = put(world, record.repository, "a", b"second")
    etags = {"a": first, "x.tar": packed, "b": first}
    assert uploads.published(record, etags) == {"a", "x.tar"}
    assert uploads.published(record, {"a": second}) == set()
    world.sync(record.repository)
    assert uploads.published(record, {"a": second}) == {"a"}
    assert uploads.published(record, {"a": first}) == set()


@pytest.mark.parametrize(("mtime", "metadata"), [(None, {}), (-1.0, {}), (1e18, {}), (0.0, {"mtime": "0.000"})])
def test_times_that_cannot_be_are_left_out(mtime: float | None, metadata: dict[str, str]) -> None:
    assert LocalFile("a", 1, mtime).metadata == metadata
