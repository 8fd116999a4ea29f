"""What a candidate's new and changed entries must keep to, one by one."""

import stat
from typing import Final

from softman.cvmfs.check import chunk_problems
from softman.cvmfs.errors import CandidateRejected, PathError
from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.format.hashes import HashAlgorithm
from softman.cvmfs.paths import MAX_PATH, check_writable

STRUCTURE: Final = (Flag.NESTED_MOUNTPOINT | Flag.NESTED_ROOT).value
"""Bits that say where catalogs begin, and nothing about the entry."""
_SET_ID = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_KIND_BITS = ~(0x700 | 0x3800 | Flag.CHUNKED.value | STRUCTURE)
_CONTENT_BITS = 0x700 | 0x3800 | Flag.CHUNKED.value
_LEAST_LINKS = 2
_TYPES = {
    Flag.DIRECTORY.value: stat.S_IFDIR,
    Flag.FILE.value: stat.S_IFREG,
    Flag.FILE.value | Flag.SYMLINK.value: stat.S_IFLNK,
}


def check_entry(entry: Entry, old: Entry | None, algorithm: HashAlgorithm) -> None:
    """Accept an entry that is new, or has changed.

    Args:
        entry: as it is to be.
        old: what the revision in force has at that path, if anything.
        algorithm: of the repository's hashes.

    Raises:
        CandidateRejected: it breaks a rule.
        FormatError: its compression is unknown.
    """
    if old is None:
        try:
            check_writable(entry.path, is_file=entry.is_file)
        except PathError as exc:
            raise CandidateRejected(str(exc)) from exc
    if entry.is_bind_mountpoint or (old is not None and old.is_bind_mountpoint):
        raise CandidateRejected(f"{entry.path!r}: a bind mountpoint was added or changed")
    _check_attributes(entry, old)
    if entry.hardlink_group and (entry.linkcount < _LEAST_LINKS or entry.is_dir):
        raise CandidateRejected(f"{entry.path!r}: a hard-link group needs two files")
    if old is None or not same_but_links(entry, old) or entry.is_chunked:
        _check_content(entry, algorithm)


def check_link(link: Entry, within: bytes) -> None:
    """Accept a symbolic link whose target does not begin outside of the repository.

    Later ``..`` and other links on the way are not followed: that takes the whole tree, which an honest publisher has
    looked at, and one that deceives here can publish a program as well.

    Args:
        link: the entry.
        within: where clients see the repository, ``/cvmfs/<name>``.

    Raises:
        CandidateRejected: it leads out, or has a variable that clients replace by anything.
    """
    target, depth = link.symlink, link.path.count(b"/") - 1
    inside = True
    if target.startswith(b"/"):
        inside, depth = target == within or target.startswith(within + b"/"), 0
        target = target[len(within) :]
    for name in target.split(b"/"):
        if name not in {b"", b".", b".."}:
            break
        depth -= name == b".."
    if not inside or depth < 0 or b"$(" in link.symlink:
        reason = f"the symbolic link leads to {link.symlink[:200]!r}, out of the repository"
        raise CandidateRejected(f"{link.path!r}: {reason}")


def same_but_links(entry: Entry, old: Entry) -> bool:
    """Whether only link counts, hard-link groups, chunks and the place among the catalogs differ."""
    same = ("mode", "size", "mtime", "mtime_ns", "uid", "gid", "hash", "symlink", "xattrs")
    return (entry.flags ^ old.flags) & ~STRUCTURE == 0 and all(
        getattr(entry, name) == getattr(old, name) for name in same
    )


def same_in_another_catalog(entry: Entry, old: Entry) -> bool:
    """Whether an entry moved from one catalog to another and is the same; groups have other numbers there."""
    return same_but_links(entry, old) and (entry.linkcount, entry.chunks) == (old.linkcount, old.chunks)


def _check_attributes(entry: Entry, old: Entry | None) -> None:
    """Type, mode and owner: plain ones, or what the old row had."""
    if old is None or (entry.flags & _KIND_BITS, stat.S_IFMT(entry.mode)) != (
        old.flags & _KIND_BITS,
        stat.S_IFMT(old.mode),
    ):
        expected = _TYPES.get(entry.flags & _KIND_BITS)
        if expected is None or stat.S_IFMT(entry.mode) != expected:
            raise CandidateRejected(
                f"{entry.path!r}: flags {entry.flags:#x} and mode {entry.mode:o} are not those of a plain file, "
                "directory or symbolic link"
            )
    if not entry.is_file and entry.flags & _CONTENT_BITS and (old is None or (entry.flags ^ old.flags) & ~STRUCTURE):
        raise CandidateRejected(f"{entry.path!r}: flags {entry.flags:#x} are those of content, which only files have")
    if entry.mode & ~0o177777 or (entry.mode & _SET_ID and (old is None or entry.mode != old.mode)):
        raise CandidateRejected(f"{entry.path!r}: mode {entry.mode:o} has set-id or sticky bits")
    if (entry.uid, entry.gid) not in ({(0, 0)} if old is None else {(0, 0), (old.uid, old.gid)}):
        raise CandidateRejected(f"{entry.path!r}: belongs to {entry.uid}:{entry.gid}, not to root")


def _check_content(entry: Entry, algorithm: HashAlgorithm) -> None:
    """Hash, chunks, size and link target belong to the type."""
    if entry.is_symlink != (entry.symlink != b"") or b"\0" in entry.symlink or len(entry.symlink) > MAX_PATH:
        raise CandidateRejected(f"{entry.path!r}: the target of a symbolic link is missing, impossible or out of place")
    if entry.is_symlink and entry.size != len(entry.symlink):
        raise CandidateRejected(f"{entry.path!r}: the size is not that of the link's target")
    if not entry.is_file:
        if entry.hash is not None or entry.is_chunked:
            raise CandidateRejected(f"{entry.path!r}: has content, but is no regular file")
        return
    _ = entry.compression  # raises FormatError for an unknown one
    if entry.algorithm is not algorithm:
        raise CandidateRejected(f"{entry.path!r}: hashed with {entry.algorithm.name}, not {algorithm.name}")
    if (entry.hash is None) != entry.is_chunked:
        raise CandidateRejected(f"{entry.path!r}: must have either a content hash or chunks")
    if entry.is_chunked:
        for problem in chunk_problems(entry.path, entry.chunks, entry.size):
            raise CandidateRejected(problem)
