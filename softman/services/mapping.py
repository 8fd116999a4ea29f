"""From what the bucket says to what the repository shows: one key at a time, pure.

The rules are in ``docs/sync.md``. Names are taken as they are: no unicode normalisation, no change of case.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.format.rows import FLAGS_COLUMN, XATTR_COLUMN, RowEntry
from softman.model import PUBLISHED_PREFIX, BucketObject, Refusal
from softman.services.archives.kinds import SUFFIXES, archive_kind_of, unpacked_key
from softman.services.configuration import CONFIGURATION_KEY, Configuration, Modes, fingerprint
from softman.services.metadata import mode_of, mtime_of, says_link, says_plain

MAPPING_VERSION: Final = 2
"""Part of the mark of every published entry; raising it makes every sync look at the object again (decision 16)."""
SOURCE_XATTR: Final = b"user.softman.source"
"""The extended attribute of a published entry; see ``Rules.mark``."""
PUBLISHER_XATTR: Final = b"user.softman.publisher"
"""The extended attribute of an entry that a publisher wrote through the gateway: the id of its key. Syncs leave it."""
RULES_XATTR: Final = b"user.softman.rules"
"""The extended attribute of the root: the fingerprint of the rules that all of the repository follows."""
LINK_SUFFIX: Final = ".rclonelink"
MAX_LINK: Final = 4095
"""Bytes of a symbolic link's target."""
SNIFF_SIZE: Final = 4
"""Bytes of a file's head that decide whether it is executable."""
MARKER: Final = ".cvmfscatalog"
"""The file that makes its directory a nested catalog."""
UNMARKED: Final = frozenset({b".cvmfscatalog", b".cvmfsautocatalog", b".cvmfsdirtab"})
"""Names of files that softman makes itself: without a mark they come from no key."""

_AUTO_MARKER = ".cvmfsautocatalog"
_LINK_MODE = 0o777
_MAX_NAME = 255
_MAX_ETAG = 128
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_VERSION = b"%d " % MAPPING_VERSION
_PLAIN = b"="
_NO_FORM = b"-"
_FORM_WORD, _MODES_WORD = 3, 4
_NO_NAMES = frozenset({"", ".", ".."})
_BLOB_HEADER = 4  # version, number of attributes, lengths of name and value (format/xattrs.py)
_MARK_BEGINS = _BLOB_HEADER + len(SOURCE_XATTR)
_ONE_MARK = bytes((1, 1, len(SOURCE_XATTR)))
_DIRECTORY = Flag.DIRECTORY.value
_CLAIMS = (LINK_SUFFIX, *sorted(SUFFIXES))


class TargetKind(Enum):
    """What a key is published as."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a key is published: ``path`` is absolute inside the repository, the root is ``b""``."""

    key: str
    path: bytes
    kind: TargetKind = TargetKind.FILE

    @property
    def is_directory(self) -> bool:
        """Whether the key is the marker of a directory; an archive is none, though it unpacks into one."""
        return self.kind is TargetKind.DIRECTORY


@dataclass(frozen=True, slots=True)
class SiteRules:
    """What the site's settings say about all repositories.

    Attributes:
        links_anywhere: symbolic links may lead out of the repository.
        unpack: archives are unpacked, unless the owner says otherwise.
        unpack_below: in these folders only (keys without ``cvmfs/``, with a slash at the end; empty: everywhere).
    """

    links_anywhere: bool = False
    unpack: bool = True
    unpack_below: tuple[str, ...] = ("",)


DEFAULT_SITE: Final = SiteRules()


class Rules:
    """The mapping of one repository. Threads may share it.

    Args:
        repository: its name, for links that begin with ``/cvmfs/<name>/``.
        configuration: what the owner wants.
        site: what the site allows.
    """

    def __init__(
        self, repository: str, configuration: Configuration | None = None, site: SiteRules = DEFAULT_SITE
    ) -> None:
        self.configuration = configuration or Configuration()
        own = self.configuration
        self._root = f"/cvmfs/{repository}".encode()
        self._links_anywhere = site.links_anywhere
        self._unpack = site.unpack if own.unpack is None else own.unpack
        self._below = site.unpack_below if own.unpack_below is None else own.unpack_below
        modes = own.modes
        self._modes_word = b"" if modes == Modes() else b"%o.%o.%o" % (modes.file, modes.executable, modes.directory)
        self._site_word = "" if site == DEFAULT_SITE else repr(site)

    @property
    def fingerprint(self) -> bytes:
        """Differs between rules under which a bucket may be shown differently; empty for the defaults."""
        return fingerprint(self.configuration.text + self._site_word).encode()

    def target_of(self, key: str) -> Target | Refusal | None:
        """Where ``key`` belongs, as far as the key alone says.

        Returns:
            The target; or a refusal with the reason; or None for keys that say nothing to us: outside ``cvmfs/``, the
            marker of the area itself, the owner's configuration, and what that ignores.
        """
        if not key.startswith(PUBLISHED_PREFIX) or key in {PUBLISHED_PREFIX, CONFIGURATION_KEY}:
            return None
        inner = key[len(PUBLISHED_PREFIX) :]
        ignore = self.configuration.ignore
        if ignore is not None and ignore.match_file(inner):
            return None
        if key.endswith("/"):
            return _place(key, inner[:-1], TargetKind.DIRECTORY)
        if key.endswith(LINK_SUFFIX) and inner.rpartition("/")[2].removesuffix(LINK_SUFFIX) not in _NO_NAMES:
            return _place(key, inner.removesuffix(LINK_SUFFIX), TargetKind.LINK)
        if self._is_unpacked(inner):
            return _place(key, unpacked_key(inner), TargetKind.ARCHIVE)
        return _place(key, inner, TargetKind.FILE)

    def settle(self, target: Target, info: BucketObject) -> Target | Refusal:
        """What ``target`` is, now that the object's metadata are known.

        An archive with ``unpack=false`` is a file in its own place; a file may be a symbolic link of s3fs.
        """
        if target.kind is TargetKind.DIRECTORY and info.size:
            return Refusal(target.key, "a name ending in a slash is a folder and cannot have content", info.etag)
        if target.kind is TargetKind.ARCHIVE and says_plain(info):
            return _place(target.key, target.key[len(PUBLISHED_PREFIX) :], TargetKind.FILE)
        if target.kind is TargetKind.FILE and says_link(info):
            return Target(target.key, target.path, TargetKind.LINK)
        return target

    def wants_catalog(self, directory: bytes) -> bool:
        """Whether a directory gets a catalog of its own because of its depth."""
        return 0 < directory.count(b"/") <= self.configuration.catalog_depth

    def mark(self, target: Target, info: BucketObject) -> bytes:
        """The value of ``SOURCE_XATTR`` for the entry that shows ``info`` at the settled ``target``.

        ``<mapping version> <ETag> <LastModified> [<form> [<modes>]]``: whole seconds, because a listing has fractions
        where a HEAD has none; the form is the suffix that the key has and the path has not, ``=`` for an archive kept a
        file by its metadata, ``-`` for nothing; the modes are those of the configuration, where they are not the usual.
        """
        base = base_mark(info)
        form = target.key.encode(errors="surrogateescape")[len(PUBLISHED_PREFIX) - 1 + len(target.path) :].rstrip(b"/")
        if target.kind is TargetKind.FILE and self._is_unpacked(target.key[len(PUBLISHED_PREFIX) :]):
            form = _PLAIN
        words = [base, form or _NO_FORM, self._modes_of(target.kind)]
        while words[-1] in {b"", _NO_FORM}:
            words.pop()
        return b" ".join(words)

    @property
    def usual_modes(self) -> bool:
        """Whether ``base_mark`` is the whole mark of plain files and directories."""
        return not self._modes_word

    def shows(self, entry: Entry, item: BucketObject) -> bool:
        """Whether ``entry``, of the key of ``item``, has the mark of it, as far as a listing tells."""
        mark = mark_of(entry)
        if mark is None:
            return False
        base = base_mark(item)
        if mark == base and not self._modes_word:
            return True
        words = mark.split(b" ")
        if b" ".join(words[:_FORM_WORD]) != base:
            return False
        modes = words[_MODES_WORD] if len(words) > _MODES_WORD else b""
        kind = _kind_of(entry)
        return modes == self._modes_of(kind)

    def fits(self, entry: Entry, target: Target) -> bool:
        """Whether ``entry``, of the key of ``target``, is in the place and of the kind that the rules want."""
        if _word(mark_of(entry), _FORM_WORD) == _PLAIN:
            return target.kind is TargetKind.ARCHIVE
        kind = _kind_of(entry)
        said_link = kind is TargetKind.LINK and target.kind is TargetKind.FILE
        return entry.path == target.path and (kind is target.kind or said_link)

    def is_current(self, shown: Entry, target: Target, info: BucketObject) -> bool:
        """Whether ``shown`` came from this object, settled as ``target``.

        A copy within the same second may change metadata alone, so these are compared too.
        """
        if shown.path != target.path or shown.xattrs.get(SOURCE_XATTR) != self.mark(target, info):
            return False
        if _kind_of(shown) is not target.kind or (shown.mtime, shown.mtime_ns) != mtime_of(info):
            return False
        if target.kind in {TargetKind.LINK, TargetKind.ARCHIVE}:
            return True
        mode = mode_of(info, is_directory=target.is_directory)
        return mode is None or shown.permissions == mode

    def mode(self, target: Target, info: BucketObject, head: bytes = b"") -> int:
        """Permission bits: the metadata's, else executable for scripts and ELF programs by their first bytes."""
        if target.kind is TargetKind.LINK:
            return _LINK_MODE
        modes = self.configuration.modes
        if target.kind is TargetKind.ARCHIVE:
            return modes.directory
        said = mode_of(info, is_directory=target.is_directory)
        if said is not None:
            return said
        if target.is_directory:
            return modes.directory
        return modes.executable if head.startswith((b"#!", b"\x7fELF")) else modes.file

    def link(self, target: Target, text: bytes) -> bytes | Refusal:
        """The target of a symbolic link, from the object's content (``MAX_LINK`` and one byte of it are enough)."""
        leads_to = text.removesuffix(b"\n")
        reason = _wrong_link(leads_to)
        if reason is None and not self._links_anywhere:
            reason = self._leads_out(target.path, leads_to)
        return leads_to if reason is None else Refusal(target.key, reason)

    def _leads_out(self, path: bytes, leads_to: bytes) -> str | None:
        if b"$(" in leads_to:  # clients replace $(NAME:-default) by whatever they are configured to
            return f"the link leads to {_shown(leads_to)}; CVMFS reads $( as a variable, which may lead anywhere"
        names = leads_to.split(b"/")
        if leads_to.startswith(b"/"):
            if leads_to != self._root and not leads_to.startswith(self._root + b"/"):
                return f"the link leads to {_shown(leads_to)}, out of the repository"
            depth = 0
        else:
            depth = path.count(b"/") - 1
        ups = next((at for at, name in enumerate(names) if name != b".."), len(names))
        if b".." in names[ups:]:
            return f"the link leads to {_shown(leads_to)}; '..' is possible at its beginning only"
        return f"the link leads to {_shown(leads_to)}, out of the repository" if ups > depth else None

    def _is_unpacked(self, inner: str) -> bool:
        if archive_kind_of(inner) is None or not self._unpack:
            return False
        keep = self.configuration.keep
        return inner.startswith(self._below) and (keep is None or not keep.match_file(inner))

    def _modes_of(self, kind: TargetKind) -> bytes:
        return self._modes_word if kind in {TargetKind.FILE, TargetKind.DIRECTORY} else b""


def key_of(path: bytes, *, is_directory: bool) -> str:
    """The key that publishes ``path`` as a plain file or a directory."""
    return PUBLISHED_PREFIX + path.decode(errors="surrogateescape").removeprefix("/") + ("/" if is_directory else "")


def mark_of(entry: Entry) -> bytes | None:
    """The mark of an entry, or None. Asked for every entry of a walk, so the usual case is cut out of the raw row."""
    if type(entry) is RowEntry:
        blob: bytes | None = entry.row[XATTR_COLUMN]
        if blob is None:
            return None
        if blob.startswith(SOURCE_XATTR, _BLOB_HEADER) and blob.startswith(_ONE_MARK):
            return blob[_MARK_BEGINS:]
    return entry.xattrs.get(SOURCE_XATTR)


def is_plain(entry: Entry) -> bool:
    """Whether the key of ``entry`` is its path, as far as that is quickly told: ``form_of`` is nothing then."""
    if type(entry) is not RowEntry:
        return False
    row = entry.row
    return not row[FLAGS_COLUMN] & _DIRECTORY and b" ." not in (row[XATTR_COLUMN] or b"")


def form_of(entry: Entry, mark: bytes | None) -> bytes:
    """What the key of ``entry`` has after its path: ``/``, the suffix of a link or an archive, or nothing."""
    if mark is not None and b" ." in mark:
        form = _word(mark, _FORM_WORD)
        if form.startswith(b"."):
            return form
    return b"/" if entry.is_dir else b""


def source_key(entry: Entry) -> str:
    """The key that ``entry`` came from; without a mark, the one that would publish it."""
    inner = entry.path[1:] + form_of(entry, mark_of(entry))
    return PUBLISHED_PREFIX + inner.decode(errors="surrogateescape")


def is_unpacked(entry: Entry) -> bool:
    """Whether ``entry`` is the directory that an archive was unpacked into."""
    return entry.is_dir and _word(mark_of(entry), _FORM_WORD).startswith(b".")


def is_publishers(entry: Entry) -> bool:
    """Whether a publisher wrote ``entry`` through the gateway, and no key of the bucket stands for it."""
    return PUBLISHER_XATTR in entry.xattrs and SOURCE_XATTR not in entry.xattrs


def places(key: str) -> Iterator[bytes]:
    """Every path where ``key`` may be shown, whatever rules, metadata and version of softman put it there."""
    inner = key[len(PUBLISHED_PREFIX) :]
    yield _path(inner.removesuffix("/"))
    if key.endswith(LINK_SUFFIX):
        yield _path(inner.removesuffix(LINK_SUFFIX))
    elif archive_kind_of(inner) is not None:
        yield _path(unpacked_key(inner))


def claimants(path: bytes) -> Iterator[str]:
    """Every key that may be shown at ``path`` as something else than a directory, in the order in which they win."""
    plain = key_of(path, is_directory=False)
    yield plain
    for suffix in _CLAIMS:
        yield plain + suffix


def _path(inner: str) -> bytes:
    return b"/" + inner.encode(errors="surrogateescape")


def _place(key: str, inner: str, kind: TargetKind) -> Target | Refusal:
    names = inner.split("/")
    reason = next((why for name in names if (why := _wrong_name(name))), None) or _wrong_place(names, kind)
    return Target(key, _path(inner), kind) if reason is None else Refusal(key, reason)


def _wrong_name(name: str) -> str | None:
    if name == "":
        return "two slashes in a row leave a folder without a name"
    if name in {".", ".."}:
        return f"{name!r} cannot be the name of a file or folder"
    if _CONTROL.search(name):
        return "names with control characters cannot be published"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "the name is not valid Unicode"
    if length > _MAX_NAME:
        return f"a name has {length} bytes; {_MAX_NAME} are possible"
    return None


def _wrong_place(names: list[str], kind: TargetKind) -> str | None:
    if names[0].startswith(".cvmfs"):
        return "names beginning with .cvmfs are reserved at the top of a repository"
    if _AUTO_MARKER in names:
        return f"{_AUTO_MARKER} is the name of a file that softman makes itself"
    if MARKER in names[:-1] or (names[-1] == MARKER and kind is not TargetKind.FILE):
        return f"{MARKER} can only be a plain file: it makes its folder a nested catalog"
    return None


def _wrong_link(leads_to: bytes) -> str | None:
    if not leads_to:
        return "the link has no target"
    if len(leads_to) > MAX_LINK:
        return f"the target of the link has more than {MAX_LINK} bytes"
    if _CONTROL.search(leads_to.decode(errors="replace")):
        return "the target of the link has control characters"
    return None


def base_mark(item: BucketObject) -> bytes:
    """The first three words of a mark, all that a listing tells."""
    etag = item.etag
    if len(etag) > _MAX_ETAG or " " in etag or not etag:
        etag = etag[:_MAX_ETAG].replace(" ", "_") or "-"
    return b"%b%b %d" % (_VERSION, etag.encode("ascii", "replace"), item.last_modified)


def _word(mark: bytes | None, at: int) -> bytes:
    words = (mark or b"").split(b" ")
    return words[at] if len(words) > at else b""


def _kind_of(entry: Entry) -> TargetKind:
    if entry.is_dir:
        return TargetKind.ARCHIVE if is_unpacked(entry) else TargetKind.DIRECTORY
    return TargetKind.LINK if entry.is_symlink else TargetKind.FILE


def _shown(target: bytes) -> str:
    return target[:200].decode(errors="backslashreplace")
