"""Tar archives as wrong as one likes, made byte by byte: what ``tarfile`` would not write."""

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable

from softman.services.archives.kinds import ArchiveKind

if sys.version_info >= (3, 14):
    from compression import zstd as zstd  # noqa: PLC0414 - for tests
else:
    from backports import zstd as zstd  # noqa: PLC0414 - for tests

END = bytes(1024)
COMPRESS: dict[ArchiveKind, Callable[[bytes], bytes]] = {
    ArchiveKind.TAR: bytes,
    ArchiveKind.GZIP: lambda data: gzip.compress(data, 1),
    ArchiveKind.BZIP2: lambda data: bz2.compress(data, 1),
    ArchiveKind.XZ: lambda data: lzma.compress(data, preset=0),
    ArchiveKind.ZSTD: lambda data: zstd.compress(data, 1),
}
POSIX, GNU, OLD = b"ustar\00000", b"ustar  \0", b""


def member(
    name: bytes,
    data: bytes = b"",
    kind: bytes = b"0",
    link: bytes = b"",
    *,
    mode: int = 0o644,
    mtime: bytes = b"13000000000\0",
    size: bytes | int | None = None,
    prefix: bytes = b"",
    magic: bytes = POSIX,
    rest: bytes = b"",
) -> bytes:
    """A header and its data. ``size`` may lie, ``rest`` takes the place of what follows the magic."""
    length = size if isinstance(size, bytes) else _number(len(data) if size is None else size)
    header = b"".join(
        [
            name.ljust(100, b"\0")[:100],
            b"%07o\0" % mode,
            b"0000000\0" * 2,
            length,
            mtime,
            b" " * 8,
            kind,
            link.ljust(100, b"\0")[:100],
            magic.ljust(8, b"\0"),
        ]
    )
    header += rest or b"root".ljust(32, b"\0") * 2 + b"0000000\0" * 2 + prefix
    header = header.ljust(512, b"\0")
    header = header[:148] + b"%06o\0 " % sum(header) + header[156:]
    return header + data + bytes(-len(data) % 512)


def _number(value: int) -> bytes:
    return b"%011o\0" % value if value < 8**11 else b"\x80" + value.to_bytes(11, "big")


def pax(kind: bytes = b"x", **records: bytes) -> bytes:
    """An extended header; two underscores in a key stand for a dot."""
    return member(b"pax", b"".join(record(k.replace("__", ".").encode(), v) for k, v in records.items()), kind)


def record(key: bytes, value: bytes) -> bytes:
    """One pax record, which begins with its own length."""
    bare = len(key) + len(value) + 3
    length = bare + len(str(bare))
    length = bare + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """GNU tar's header for a long name, or with ``K`` a long link."""
    return member(b"././@LongLink", name + b"\0", kind, magic=GNU)


def folder(name: bytes, mode: int = 0o755) -> bytes:
    return member(name, kind=b"5", mode=mode)


def symlink(name: bytes, target: bytes) -> bytes:
    return member(name, kind=b"2", link=target)


def hard_link(name: bytes, target: bytes) -> bytes:
    return member(name, kind=b"1", link=target)


def archive(*parts: bytes) -> bytes:
    return b"".join(parts) + END


FILE = member(b"first", b"1")

HOSTILE: dict[str, tuple[bytes, str]] = {
    # where it leads
    "absolute name": (archive(FILE, member(b"/etc/passwd", b"x")), "/etc/passwd is an absolute name"),
    "parent": (archive(FILE, member(b"../x", b"x")), r"\.\./x leads out"),
    "parent within": (archive(member(b"a/../../x", b"x")), "leads out"),
    "parent that stays": (archive(member(b"a/../x", b"x")), "leads out"),
    "parent at the end": (archive(folder(b"a/..")), "leads out"),
    "absolute by pax": (archive(pax(path=b"/x"), FILE), "/x is an absolute name"),
    "parent by GNU": (archive(long_name(b"a/" * 99 + b"../" * 100 + b"x"), FILE), "leads out"),
    "parent by prefix": (archive(member(b"x", b"1", prefix=b"../..")), "leads out"),
    "parent by pax for all": (archive(pax(b"g", path=b"../x"), FILE), "leads out"),
    # links
    "absolute link": (archive(symlink(b"l", b"/etc/passwd")), "l is a symbolic link to an absolute path"),
    "link to the parent": (archive(symlink(b"l", b"..")), "l is a symbolic link that leads out"),
    "link over the parent": (archive(symlink(b"a/b/l", b"../../../x")), "leads out"),
    "link by dots": (archive(symlink(b"a/l", b"./.././../x")), "leads out"),
    "link by a link": (
        archive(symlink(b"a/b/up", b"../.."), symlink(b"l", b"a/b/up/../x")),
        "l is a symbolic link that",
    ),
    "link by a later link": (
        archive(symlink(b"l", b"a/b/../../x"), symlink(b"a/b", b"../c")),
        "l is a symbolic link th",
    ),
    "link by links": (
        archive(symlink(b"a/s", b"."), symlink(b"l", b"a/s/s/s/../../x")),
        "l is a symbolic link that leads out",
    ),
    "link in circles over the parent": (
        archive(symlink(b"a", b"a/../..")),
        "a is a symbolic link that leads out of th",
    ),
    "link in a hard link": (
        archive(symlink(b"a/b/l", b"../../x"), hard_link(b"l", b"a/b/l")),
        "l is a symbolic link that leads out",
    ),
    "link with a variable": (archive(symlink(b"l", b"$(NONE:-/etc/passwd)")), "variable of CVMFS"),
    "link without target": (archive(symlink(b"l", b"")), "target has 0 bytes"),
    "link with a NUL": (archive(pax(linkpath=b"a\0b"), symlink(b"l", b"a")), "NUL"),
    "link too long": (archive(long_name(b"a/" * 2100, b"K"), symlink(b"l", b"a")), "4200 bytes"),
    "hard link out": (archive(hard_link(b"h", b"/etc/passwd")), "h is a hard link to /etc/passwd"),
    "hard link to the parent": (archive(FILE, hard_link(b"h", b"../first")), r"h is a hard link to \.\./first"),
    "hard link to what comes": (archive(hard_link(b"h", b"first"), FILE), "h is a hard link to first"),
    "hard link to itself": (archive(hard_link(b"h", b"h")), "h is a hard link to h"),
    "hard link to a folder": (archive(folder(b"d"), hard_link(b"h", b"d")), "h is a hard link to d"),
    "hard link to the top": (archive(folder(b"./"), hard_link(b"h", b".")), "h is a hard link to ."),
    "hard link below a link": (
        archive(member(b"a/f", b"1"), symlink(b"l", b"a"), hard_link(b"h", b"l/f")),
        "h is a hard link to l/f",
    ),
    "hard link out by a long link": (
        archive(FILE, long_name(b"a/" * 60 + b"../" * 61 + b"first", b"K"), hard_link(b"h", b"first")),
        "h is a hard link to a/a/",
    ),
    "link out of a folder behind a link": (  # CPython, CVE-2025-4517, without the names that were too long to follow
        archive(folder(b"d" * 200), symlink(b"s", b"d" * 200), symlink(b"e", b"s/" + b"../" * 2 + b"x")),
        "e is a symbolic link that leads out",
    ),
    # one in the way of another
    "below a link": (archive(symlink(b"a", b"b"), member(b"a/x", b"1")), "a/x lies below a, which is no directory"),
    "below a file": (archive(FILE, member(b"first/x/y", b"1")), "first/x/y lies below first"),
    "twice": (archive(FILE, FILE), "first comes a second time"),
    "twice by dots": (archive(FILE, member(b".//./first", b"2")), "first comes a second time"),
    "file over a folder": (archive(folder(b"d"), member(b"d", b"2")), "d comes a second time"),
    "file over an implied folder": (archive(member(b"a/b/c", b"1"), member(b"a/b", b"2")), "a/b comes a second time"),
    "folder over a file": (archive(FILE, folder(b"first")), "first comes a second time"),
    "folder over a link": (archive(symlink(b"l", b"first"), folder(b"l")), "l comes a second time"),
    "link over a file": (archive(FILE, symlink(b"first", b"x")), "first comes a second time"),
    "link over a folder": (archive(member(b"a/b", b"1"), symlink(b"a", b"b")), "a comes a second time"),
    # what is no file
    "character device": (archive(member(b"d", kind=b"3")), "d is a character device"),
    "block device": (archive(member(b"d", kind=b"4")), "d is a block device"),
    "fifo": (archive(member(b"d", kind=b"6")), "d is a fifo"),
    "unknown": (archive(member(b"d", b"x", kind=b"Q")), "d is of an unknown type"),
    "multi-volume": (archive(member(b"d", b"x", kind=b"M")), "rest of a file in another archive"),
    "GNU dump directory": (archive(member(b"d", b"Yfile\0\0", kind=b"D")), "GNU dump directory"),
    "old GNU sparse": (archive(member(b"s", b"x", kind=b"S", magic=GNU)), "s is a sparse file"),
    "old GNU sparse, long map": (
        archive(member(b"s", b"", kind=b"S", magic=GNU, rest=bytes(217) + b"\1") + bytes(504) + b"\1" + bytes(519)),
        "s is a sparse file",
    ),
    "GNU sparse 0.0": (archive(pax(GNU__sparse__size=b"99999999999", GNU__sparse__numblocks=b"1"), FILE), "sparse"),
    "GNU sparse 0.1": (archive(pax(GNU__sparse__map=b"0,1,999999,1", GNU__sparse__name=b"/x"), FILE), "sparse"),
    "GNU sparse 1.0": (archive(pax(GNU__sparse__major=b"1", GNU__sparse__realsize=b"999999"), FILE), "sparse"),
    "Solaris sparse": (archive(pax(SUN__holesdata=b" 0 512 1024"), FILE), "sparse"),
    "star sparse": (archive(pax(SCHILY__realsize=b"99999"), FILE), "sparse"),
    "GNU sparse for all": (archive(pax(b"g", GNU__sparse__major=b"1"), FILE), "sparse"),
    # names
    "no name": (archive(member(b"", b"x")), "a member has no name"),
    "only dots": (archive(member(b"./.", b"x")), "has no name"),
    "name too long": (archive(long_name(b"a/" + b"x" * 256), FILE), "a name of over 255 bytes"),
    "path too long": (archive(pax(path=b"abc/" * 800 + b"x"), FILE), "a path of 3201 bytes"),
    "NUL": (archive(pax(path=b"a\0b"), FILE), "NUL in its name"),
    "marker as folder": (archive(folder(b"a/.cvmfscatalog")), "can only be a file"),
    "marker as link": (archive(FILE, symlink(b".cvmfscatalog", b"first")), "can only be a file"),
    "below a marker": (archive(member(b".cvmfsautocatalog/x", b"1")), "can only be a file"),
    "marker as hard link": (archive(FILE, hard_link(b".cvmfscatalog", b"first")), "involves a .cvmfscatalog"),
    "hard link to a marker": (archive(member(b"a/.cvmfscatalog"), hard_link(b"h", b"a/.cvmfscatalog")), "involves a"),
    # headers
    "link with content": (
        archive(member(b"l", bytes(512), kind=b"2", link=b"x")),
        "l is no file, but is said to have 512",
    ),
    "hard link with content": (archive(FILE, member(b"h", b"1", kind=b"1", link=b"first")), "h is no file, but"),
    "folder with content": (archive(member(b"d", bytes(512), kind=b"5")), "d is no file, but"),
    "folder by its name, with content": (
        archive(member(b"d/", bytes(512), kind=b"\0", magic=OLD)),
        "d/ is no file, but",
    ),
    "folder by pax, with content": (
        archive(pax(path=b"d/", size=b"512"), member(b"d", bytes(512))),
        "d/ is no file, but",
    ),
    "two long names": (archive(long_name(b"a"), long_name(b"b"), FILE), "too many extended headers"),
    "two pax headers": (archive(pax(path=b"a"), pax(path=b"b"), FILE), "too many extended headers"),
    "huge pax header": (
        archive(member(b"pax", b"x", kind=b"x", size=2**30)),
        "an extended header has 1073741824 bytes",
    ),
    "huge long name": (archive(member(b"L", b"x", kind=b"L", size=2**40, magic=GNU)), "an extended header has"),
    "growing pax headers for all": (
        archive(*(pax(b"g", **{f"SCHILY__xattr__user__{n}": bytes(100_000)}) for n in range(20)), FILE),
        "global headers have more than",
    ),
    "pax without length": (archive(member(b"pax", b"path=x\n", kind=b"x"), FILE), "has no length"),
    "pax with a wrong length": (archive(member(b"pax", b"99 path=x\n", kind=b"x"), FILE), "wrong length"),
    "pax with length 0": (archive(member(b"pax", b"0 path=x\n", kind=b"x"), FILE), "wrong length"),
    "pax with a negative length": (archive(member(b"pax", b"-9 path=x\n", kind=b"x"), FILE), "a length is no number"),
    "pax size no number": (archive(pax(size=b"1e9"), FILE), "a length is no number"),
    "pax size beyond": (archive(pax(size=b"99999999"), FILE), "cut short|damaged"),
    "pax time huge": (archive(pax(mtime=b"1e999999999"), FILE), "a time is no number"),
    "pax time not a number": (archive(pax(mtime=b"nan"), FILE), "a time is no number"),
    "pax time out of range": (archive(pax(mtime=b"99999999999999"), FILE), "a time is out of range"),
    "time out of range": (archive(member(b"f", mtime=b"\x80" + b"\x7f" * 11)), "a time is out of range"),
    "negative size": (archive(member(b"f", b"1", size=b"\xff" * 12)), "a number is negative"),
    "size with a sign": (
        archive(member(b"f", b"1", size=b"         -1\0")),
        "a number is not in octal digits",
    ),
    "size of blanks": (  # GNU tar, CVE-2022-48303: a field that begins like a long number and is none
        archive(member(b"f", b"1", size=b"\x80" + b" " * 11)),
        "are possible",
    ),
    "pax length too long for a number": (
        archive(member(b"pax", b"9" * 5000 + b" path=x\n", kind=b"x"), FILE),
        "length",
    ),
    "pax record without a value": (archive(member(b"pax", b"8 path\n\n", kind=b"x"), FILE), "pax|extended"),
    "pax that hides an archive": (  # "TARmageddon", CVE-2025-62518: whose size counts decides what is read next
        archive(pax(size=b"0"), member(b"f", member(b"../hidden", b"1"), size=1024)),
        r"\.\./hidden leads out",
    ),
    "size no octal": (archive(member(b"f", b"1", size=b"0000000_001\0")), "a number is not in octal digits"),
    "size with prefix": (archive(member(b"f", b"1", size=b"0o000000001\0")), "a number is not in octal digits"),
    "size beyond the end": (archive(member(b"f", b"1", size=10**9)), "cut short"),
    "size beyond everything": (archive(member(b"f", b"1", size=b"\x80" + b"\xff" * 11)), "are possible"),
    "header after its end": (archive(FILE, long_name(b"x")), "between a header and its member"),
    # ends
    "without end mark": (FILE, "cut short: it ends without the end mark"),
    "second archive": (archive(FILE).ljust(10240, b"\0") + archive(FILE), "after the end mark"),
    "check sum": (FILE + b"x" * 512 + END, "damaged at byte 1536"),
    "nothing": (b"", "it is empty"),
    "text": (b"This is no archive, but a text of some length. " * 30, "not a tar archive"),
    "zip": (b"PK\3\4" + bytes(1000), "zip"),
}
"""Archives that are refused, and what the reason says."""
