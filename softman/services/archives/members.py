"""What members an archive may have: each is checked against those before it and entered into the spool."""

from typing import Final

from softman.cvmfs.ingest import tarheaders
from softman.cvmfs.ingest.tarheaders import Member, member_path, shown, type_name
from softman.cvmfs.paths import AUTO_MARKER, MARKER
from softman.services.archives.limits import ArchiveLimits, ArchiveRefused
from softman.services.archives.links import ASTRAY, LinksTooEntangled, LinkWalker, Verdict, judge_link
from softman.services.archives.spool import DIRECTORIES, Found, Spool, SpoolEntry, SpoolKind

MAX_PATH: Final = 2900
"""Bytes of a path in an archive. With a key of 1024 bytes before it, clients can still open it."""
_MAX_NAME = 255
_NANO = 10**9
_PERMISSIONS = 0o777
_LINK_STEPS = 10_000_000
_PUBLISHED = frozenset({tarheaders.REGULAR, tarheaders.DIRECTORY, tarheaders.SYMBOLIC_LINK, tarheaders.HARD_LINK})
_MARKERS = frozenset({MARKER, AUTO_MARKER})


class Members:
    """The members of one archive so far.

    Owners, set-id and sticky bits and extended attributes are left behind, and so is the marker of automatic catalogs:
    those of another repository would be merged here.

    Args:
        spool: where entries go.
        limits: of the archive.

    Attributes:
        count: entries so far, implied directories included, the archive's own directory not.
        size: bytes of the files so far; a hard link counts where it becomes a copy.
    """

    def __init__(self, spool: Spool, limits: ArchiveLimits) -> None:
        self.count = 0
        self.size = 0
        self._spool = spool
        self._limits = limits
        self._catalogs = 0
        self._parent = b""
        """A directory that is entered, with all above it."""

    def add(self, member: Member) -> bytes | None:
        """Enter a member.

        Returns:
            The path of a file whose content is to be stored; None for everything else.

        Raises:
            ArchiveRefused: it breaks a rule.
        """
        if member.kind == tarheaders.VOLUME_LABEL:
            return None
        path = _checked_path(member)
        if path.rpartition(b"/")[2] == AUTO_MARKER and member.kind in {tarheaders.REGULAR, tarheaders.HARD_LINK}:
            return None
        before = self._check_place(member, path)
        if member.kind == tarheaders.DIRECTORY:
            self._put(member, path, SpoolKind.DIRECTORY, is_new=before is None and path != b"")
        elif member.kind == tarheaders.SYMBOLIC_LINK:
            self._link(member, path, member.link)
        elif member.kind == tarheaders.HARD_LINK:
            self._hard_link(member, path)
        else:
            self._count_size(member, member.size)
            if path.rpartition(b"/")[2] == MARKER:
                self._count_catalog(member, path)
            self._put(member, path, SpoolKind.FILE)
            return path
        return None

    def finish(self) -> None:
        """Look at what only the whole tree tells.

        Raises:
            ArchiveRefused: a symbolic link leads out.
        """
        walker = LinkWalker(self._target_of, _LINK_STEPS)
        for path in self._spool.doubtful():
            try:
                if not walker.stays_inside(path):
                    raise ArchiveRefused(f"{shown(path)} {ASTRAY}")
            except LinksTooEntangled:
                raise ArchiveRefused("its symbolic links lead to one another in too many ways to be followed") from None

    def _check_place(self, member: Member, path: bytes) -> Found | None:
        """What is at ``path`` already, when that may be; directories above are entered."""
        if not path and member.kind != tarheaders.DIRECTORY:
            raise _refused(member, "has no name")
        self._enter_parents(member, path)
        before = self._spool.find(path)
        if before is not None and not (before.kind in DIRECTORIES and member.kind == tarheaders.DIRECTORY):
            raise _refused(member, "comes a second time")
        return before

    def _enter_parents(self, member: Member, path: bytes) -> None:
        parent = path.rpartition(b"/")[0]
        if not parent or parent == self._parent:
            return
        missing = []
        above = parent
        while above and (found := self._spool.find(above)) is None:
            missing.append(above)
            above = above.rpartition(b"/")[0]
        if above and found is not None and found.kind not in DIRECTORIES:
            raise _refused(member, f"lies below {shown(above)}, which is no directory")
        for directory in missing:
            self._count(member)
            self._spool.put(SpoolEntry(directory, SpoolKind.IMPLIED))
        self._parent = parent

    def _link(self, member: Member, path: bytes, target: bytes) -> None:
        verdict = judge_link(path, target)
        if isinstance(verdict, str):
            raise _refused(member, verdict)
        self._put(member, path, SpoolKind.LINK, link=target)
        if verdict is Verdict.LATER:
            self._spool.add_doubtful(path)

    def _hard_link(self, member: Member, path: bytes) -> None:
        """Enter another name of what came before; between directories CVMFS has none, so there it is a copy."""
        target = member_path(member.link)
        found = self._spool.find(target) if target else None
        if target is None or found is None or found.kind in DIRECTORIES:
            raise _refused(
                member, f"is a hard link to {shown(member.link)}, which is no file that came before in the archive"
            )
        if found.kind is SpoolKind.LINK:  # nobody can tell it from a copy, and it must hold in its place, too
            self._link(member, path, found.link)
            return
        file, size = self._file_behind(target, found)
        if MARKER in {path.rpartition(b"/")[2], file.rpartition(b"/")[2]}:
            raise _refused(member, f"is a hard link that involves a {MARKER.decode()}, which must be a file of its own")
        directory = path.rpartition(b"/")[0]
        leader = file if file.rpartition(b"/")[0] == directory else self._spool.name_in(directory, file)
        if leader is not None:
            self._put(member, path, SpoolKind.HARD_LINK, link=leader)
            return
        self._count_size(member, size)
        self._put(member, path, SpoolKind.COPY, link=file)
        self._spool.add_name(directory, file, path)

    def _file_behind(self, path: bytes, found: Found) -> tuple[bytes, int]:
        """The file that has the content of what is at ``path``, and its size."""
        while found.kind is not SpoolKind.FILE:
            path = found.link
            behind = self._spool.find(path)
            assert behind is not None  # noqa: S101 - links are made to what is there
            found = behind
        return path, found.size

    def _put(self, member: Member, path: bytes, kind: SpoolKind, *, link: bytes = b"", is_new: bool = True) -> None:
        if is_new:
            self._count(member)
        seconds, nanoseconds = divmod(member.mtime, _NANO)
        entry = SpoolEntry(path, kind, member.mode & _PERMISSIONS, seconds, nanoseconds, link)
        self._spool.put(entry, member.size)

    def _count(self, member: Member) -> None:
        self.count += 1
        if self.count > self._limits.members:
            raise _refused(member, f"is one too many: an archive may have {self._limits.members} members")

    def _count_size(self, member: Member, size: int) -> None:
        self.size += size
        if self.size > self._limits.size:
            raise _refused(
                member, f"has {size} bytes, {self.size} with those before it; {self._limits.size} are possible"
            )

    def _count_catalog(self, member: Member, path: bytes) -> None:
        if b"/" not in path:
            return  # the top of the archive is a nested catalog anyway
        self._catalogs += 1
        if self._catalogs > self._limits.catalogs:
            raise _refused(member, f"begins one nested catalog too many: {self._limits.catalogs} are possible")

    def _target_of(self, path: bytes) -> bytes | None:
        found = self._spool.find(path)
        return found.link if found is not None and found.kind is SpoolKind.LINK else None


def _checked_path(member: Member) -> bytes:
    path = member_path(member.name)
    if path is None:
        raise _refused(member, "is an absolute name" if member.name[:1] == b"/" else "leads out of the archive")
    if member.is_sparse:
        raise _refused(member, "is a sparse file, which are not unpacked")
    if member.kind not in _PUBLISHED:
        raise _refused(member, f"is {type_name(member.kind)}, which cannot be published")
    if len(path) > MAX_PATH:
        raise _refused(member, f"has a path of {len(path)} bytes; {MAX_PATH} are possible")
    names = path.split(b"/")
    if any(len(name) > _MAX_NAME for name in names):
        raise _refused(member, f"has a name of over {_MAX_NAME} bytes")
    if b"\0" in path:
        raise _refused(member, "has a NUL in its name")
    above = names if member.kind in {tarheaders.DIRECTORY, tarheaders.SYMBOLIC_LINK} else names[:-1]
    if not _MARKERS.isdisjoint(above):
        raise _refused(member, f"has a name that means something to CVMFS: {MARKER.decode()} can only be a file")
    return path


def _refused(member: Member, reason: str) -> ArchiveRefused:
    return ArchiveRefused(f"{shown(member.name)} {reason}")
