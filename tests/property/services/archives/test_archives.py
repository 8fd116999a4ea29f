"""Whatever an archive is made of or turned into: it becomes a tree that stays inside, or is refused with our error."""

import errno
import os
import random
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from softman.cvmfs.areas import new_transaction_id
from softman.cvmfs.staging import Staging
from softman.services.archives.kinds import ArchiveKind
from softman.services.archives.limits import ArchiveLimits, ArchiveRefused
from softman.services.archives.spool import SpoolEntry, SpoolKind
from softman.services.archives.staging import stage_archive
from tests.support.tars import COMPRESS, END, HOSTILE, archive, folder, hard_link, long_name, member, pax, symlink

LIMITS = ArchiveLimits(members=200, size=2**20, ratio=100, catalogs=3)
SEEDS = [data for data, _ in HOSTILE.values() if 0 < len(data) < 20_000] + [
    archive(
        folder(b"a"), member(b"a/f", b"1"), hard_link(b"a/h", b"a/f"), hard_link(b"h", b"a/f"), symlink(b"l", b"a")
    ),
    archive(pax(path=b"p", mtime=b"1.5", size=b"3"), member(b"x", b"123"), long_name(b"n" * 120), member(b"x", b"2")),
]
NAMES = st.sampled_from(
    [b"a", b"b", b"c", b"l", b"a/b", b"a/b/c", b"a/l", b"./a", b"/a", b"../a", b"a/../b", b"", b".", b"a/", b"\xff",
     b".cvmfscatalog", b"a/.cvmfscatalog", b".cvmfsautocatalog"]
)  # fmt: skip
TARGETS = st.one_of(
    NAMES,
    st.lists(st.sampled_from([b"..", b".", b"", b"a", b"b", b"c", b"l"]), max_size=7).map(b"/".join),
    st.just(b"$(X)"),
)
PARTS = st.one_of(
    st.builds(member, NAMES, st.binary(max_size=600)),
    st.builds(folder, NAMES),
    st.builds(symlink, st.one_of(NAMES, st.just(b"l")), TARGETS),
    st.builds(hard_link, NAMES, TARGETS),
    st.builds(lambda path, link: pax(path=path, linkpath=link), NAMES, TARGETS),
    st.builds(long_name, NAMES, st.sampled_from([b"L", b"K"])),
    st.builds(
        lambda name, kind: member(name, kind=kind), NAMES, st.sampled_from([b"3", b"S", b"V", b"g", b"x", b"7", b"\0"])
    ),
)


def staged(tmp: Path, data: bytes, kind: ArchiveKind) -> Sequence[SpoolEntry] | None:
    """The entries of an archive, None when it is refused. Anything else that is raised is a fault."""
    staging = Staging(tmp / new_transaction_id())
    pieces = (data[at : at + 777] for at in range(0, len(data), 777))
    try:
        with stage_archive(pieces, kind, staging, LIMITS, scratch=tmp) as tree:
            return [*tree._spool.entries()]
    except ArchiveRefused:
        return None
    finally:
        staging.discard()


def build(top: Path, entries: Sequence[SpoolEntry]) -> None:
    """Make the tree in a real file system, whose kernel then says where links lead."""
    for entry in entries:
        place = os.fsencode(top) + b"/" + entry.path if entry.path else os.fsencode(top)
        if entry.kind in {SpoolKind.DIRECTORY, SpoolKind.IMPLIED}:
            os.makedirs(place, exist_ok=True)  # noqa: PTH103 - names are bytes
        elif entry.kind is SpoolKind.LINK:
            os.symlink(entry.link, place)  # noqa: PTH211
        elif entry.kind is SpoolKind.HARD_LINK:
            os.link(os.fsencode(top) + b"/" + entry.link, place)
        else:
            assert entry.content is not None
            with open(place, "xb"):  # noqa: PTH123
                pass


def check(tmp: Path, entries: Sequence[SpoolEntry]) -> None:
    top = tmp / new_transaction_id() / "top"
    top.mkdir(parents=True)
    build(top, entries)  # fails where one is in the way of another
    for entry in entries:
        names = entry.path.split(b"/")
        assert b".." not in names
        assert b"." not in names
        assert entry.mode <= 0o777
        place = os.fsencode(top) + b"/" + entry.path
        if entry.kind is SpoolKind.LINK and not goes_in_circles(place):
            assert (os.path.realpath(place) + b"/").startswith(os.fsencode(top) + b"/"), entry
    assert list(top.parent.iterdir()) == [top]


def goes_in_circles(link: bytes) -> bool:
    try:
        os.stat(link)  # noqa: PTH116
    except OSError as exc:
        return exc.errno == errno.ELOOP
    return False


def unpack(data: bytes, kind: ArchiveKind) -> None:
    with TemporaryDirectory() as name:
        entries = staged(Path(name), data, kind)
        if entries is not None:
            check(Path(name), entries)


@settings(max_examples=300)
@given(parts=st.lists(PARTS, max_size=6), kind=st.sampled_from(ArchiveKind))
def test_any_members(parts: list[bytes], kind: ArchiveKind) -> None:
    unpack(COMPRESS[kind](archive(*parts)), kind)


@settings(max_examples=300)
@given(
    seed=st.sampled_from(SEEDS),
    kind=st.sampled_from(ArchiveKind),
    inside=st.booleans(),
    changes=st.integers(1, 6),
    chance=st.integers(0, 2**32),
)
def test_any_mutation(seed: bytes, kind: ArchiveKind, *, inside: bool, changes: int, chance: int) -> None:
    """Bytes are changed, cut out, doubled: in the archive before it is compressed, or after."""
    dice = random.Random(chance)
    data = seed if inside else COMPRESS[kind](seed)
    for _ in range(changes):
        data = mutate(data, dice)
    unpack(COMPRESS[kind](data) if inside else data, kind)


def mutate(data: bytes, dice: random.Random) -> bytes:
    if not data:
        return END
    at = dice.randrange(len(data))
    way = dice.randrange(6)
    if way == 0:
        return data[:at]
    if way == 1:
        block = at // 512 * 512
        return data[:block] + data[block + 512 :]
    if way == 2:
        block, other = at // 512 * 512, dice.randrange(len(data)) // 512 * 512
        return data[:block] + data[other : other + 512] + data[block:]
    changed = data[:at] + bytes([dice.choice([0, 255, 0x30, 0x2F, 0x2E, dice.randrange(256)])]) + data[at + 1 :]
    return changed if way == 3 else mended(changed, at)


def mended(data: bytes, at: int) -> bytes:
    """``data`` with the right check sum in the header that has byte ``at``: so that it gets past the sum."""
    start = at // 512 * 512
    header = data[start : start + 512]
    if len(header) < 512:
        return data
    blank = header[:148] + b" " * 8 + header[156:]
    return data[:start] + header[:148] + b"%06o\0 " % sum(blank) + header[156:] + data[start + 512 :]
