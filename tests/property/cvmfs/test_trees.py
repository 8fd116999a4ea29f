"""Trees of any names go in and come out as they were; archives and catalogs of any bytes raise only our errors."""

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from softman.cvmfs.editing import Editing
from softman.cvmfs.errors import CvmfsError, SourceError
from softman.cvmfs.format.hashes import ObjectKind, hash_bytes
from softman.cvmfs.format.objects import compress, decompress
from softman.cvmfs.ingest import Workers, open_source
from softman.cvmfs.ingest.items import Extent, FileItem, HardLinkItem, Source
from softman.cvmfs.staging import Staging
from softman.cvmfs.transaction import Transaction
from tests.support.revisions import NOW, Revisions
from tests.support.tars import HOSTILE

fixed = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

# Any bytes that a name can have: UTF-8 of all planes, other encodings, and no encoding at all.
NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20).map(
        lambda text: text.encode()[:255]
    ),
    st.binary(min_size=1, max_size=255).map(lambda data: data.replace(b"/", b"_").replace(b"\0", b"_")),
    st.sampled_from([b"n" * 255, "日本語".encode("euc_jp"), "ümläut".encode("latin-1"), b"...", b" ", b"\n"]),
).filter(lambda name: name not in {b".", b".."} and not name.startswith(b".cvmfs"))
FILES = st.tuples(
    st.just("file"), st.binary(max_size=40), st.sampled_from([0o644, 0o755, 0o400]), st.integers(0, 2**33)
)
LINKS = st.tuples(st.just("link"), NAMES, st.just(0o777), st.integers(0, 2**33))
TREES = st.recursive(
    st.dictionaries(NAMES, FILES | LINKS, max_size=3),
    lambda below: st.dictionaries(NAMES, FILES | LINKS | below, max_size=3),
    max_leaves=8,
)

Shown = dict[bytes, tuple[object, ...]]


def flattened(tree: dict[bytes, object], parent: bytes = b"") -> Iterator[tuple[bytes, tuple[object, ...] | None]]:
    """Paths and what is there; None for directories."""
    for name, value in tree.items():
        path = parent + b"/" + name
        if isinstance(value, dict):
            yield path, None
            yield from flattened(value, path)
        else:
            assert isinstance(value, tuple)
            yield path, value


def write_archive(tree: dict[bytes, object], place: Path, format: int) -> None:  # noqa: A002
    with tarfile.open(place, "w", format=format, encoding="utf-8", errors="surrogateescape") as archive:
        for path, value in flattened(tree):
            info = tarfile.TarInfo(os.fsdecode(path[1:]))
            content = b""
            if value is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            else:
                kind, data, info.mode, info.mtime = value  # type: ignore[assignment]
                assert isinstance(data, bytes)
                if kind == "link":
                    info.type, info.linkname = tarfile.SYMTYPE, os.fsdecode(data)
                else:
                    content, info.size = data, len(data)
            archive.addfile(info, io.BytesIO(content))


def published(revisions: Revisions, source: Source) -> Shown:
    """Publish and read back."""
    with Workers(processes=False, count=1) as workers:
        staging = revisions.staging()
        with (
            revisions.open(revisions.empty) as before,
            Editing(before, staging, now=lambda: NOW, work_dir=revisions.directory, workers=workers) as transaction,
        ):
            report = transaction.add_tree("/", source)
            candidate = transaction.seal()
    assert report.refused == []
    if candidate is None:
        return {}
    found: Shown = {}
    with revisions.open(revisions.accept(revisions.empty, candidate, staging)) as snapshot:
        for entry in snapshot.walk():
            if entry.is_dir:
                found[entry.path] = ("dir",)
            else:
                content = entry.symlink if entry.is_symlink else b"".join(snapshot.read_entry(entry))
                kind = "link" if entry.is_symlink else "file"
                found[entry.path] = (kind, content, stat.S_IMODE(entry.mode), entry.mtime)
    return found


@settings(fixed, max_examples=40)
@given(tree=TREES, tar_format=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_a_tree_comes_out_as_it_went_in(tree: dict[bytes, object], tar_format: int) -> None:
    expected = {path: ("dir",) if value is None else value for path, value in flattened(tree)}
    with TemporaryDirectory() as folder:
        place = Path(folder) / "tree.tar"
        write_archive(tree, place, tar_format)
        with open_source(place) as source:
            assert published(Revisions(Path(folder) / "revisions"), source) == expected


SEEDS = [data for data, _ in HOSTILE.values() if 0 < len(data) < 20_000]


@st.composite
def damaged(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """Some bytes changed, removed or added."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 12))
        data[start : start + length] = draw(st.binary(max_size=12))
    return bytes(data)


@settings(fixed, max_examples=300)
@given(data=damaged(st.sampled_from(SEEDS)))
def test_any_archive_is_read_or_refused(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        place = Path(folder) / "a.tar"
        place.write_bytes(data)
        try:
            with open_source(place, with_xattrs=True) as source:
                for item in source.items():
                    if isinstance(item, FileItem | HardLinkItem):  # what is refused may have any name
                        assert not {b"", b".", b".."} & set(item.path.split(b"/"))
                    if isinstance(item, FileItem) and not isinstance(item.content, Extent):
                        assert sum(map(len, item.content)) == item.size
        except SourceError:
            pass


def small_catalog(directory: Path) -> tuple[Revisions, bytes]:
    revisions = Revisions(directory)

    def change(transaction: Transaction, staging: Staging) -> None:
        for number in range(30):
            transaction.add_file(f"/d{number % 3}/f{number}", staging.write_object([b"x"]), 0o644, 5)
        transaction.add_symlink("/link", "target", 5, {b"user.a": b"b"})
        transaction.add_file("/d0/.cvmfscatalog", staging.write_object([]), 0o644, 5)

    revisions.empty = revisions.build(revisions.empty, change)
    name = revisions.empty.root_hash.object_path(ObjectKind.CATALOG)
    return revisions, decompress(revisions.store.files[name], max_size=10**7)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> tuple[Revisions, bytes]:
    return small_catalog(tmp_path_factory.mktemp("catalog"))


@settings(fixed, max_examples=300)
@given(data=st.data())
def test_any_catalog_is_read_or_refused(catalog: tuple[Revisions, bytes], data: st.DataObject) -> None:
    """Signed and with the right hash: whoever made it meant it to be so. Work stays within what a catalog can hold."""
    revisions, original = catalog
    database = bytearray(original)
    for _ in range(data.draw(st.integers(1, 8))):
        # The header and the pages' headers are what SQLite believes most.
        page = 1024 * data.draw(st.integers(0, len(database) // 1024 - 1))
        offset = data.draw(st.integers(0, 120) | st.integers(0, 1023))
        database[page + offset] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    stored = compress(bytes(database))
    root = hash_bytes(stored)
    revisions.store.files[root.object_path(ObjectKind.CATALOG)] = stored
    try:
        with revisions.open(replace(revisions.empty, root_hash=root, root_size=len(database))) as snapshot:
            for number, entry in enumerate(snapshot.walk(hidden=True)):
                assert number < 1000
                if entry.is_file and not entry.is_external:
                    snapshot.lookup(entry.path)
                    b"".join(snapshot.read_entry(entry))
    except CvmfsError:
        pass
    finally:
        del revisions.store.files[root.object_path(ObjectKind.CATALOG)]
