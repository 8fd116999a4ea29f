"""A directory of this machine as the source of a publish."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from softman.cvmfs.errors import SourceError
from softman.cvmfs.ingest.items import (
    Attributes,
    DirectoryItem,
    Extent,
    FileItem,
    HardLinkItem,
    Item,
    LinkItem,
    Refusal,
    attributes,
)
from softman.cvmfs.ingest.objects import stamp

_KINDS = {
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}
_USER_ATTRIBUTES = b"user."


class DirectorySource:
    """Everything below ``root``. Symbolic links are taken as they are, never followed.

    Names of one file in the same directory stay hard links, as far as CVMFS has them; in different directories they
    become files of their own.

    Args:
        root: the directory; may be a symbolic link to one.
        with_xattrs: publish extended attributes of the user name space.
    """

    def __init__(self, root: Path, *, with_xattrs: bool = False) -> None:
        self._root = os.path.abspath(os.fsencode(root))  # noqa: PTH100 - names are bytes here
        self._with_xattrs = with_xattrs

    def items(self) -> Iterator[Item]:
        """See ``Source.items``."""
        try:
            status = os.stat(self._root)  # noqa: PTH116 - names are bytes here
        except OSError as exc:
            raise _unreadable(self._root, exc) from exc
        yield DirectoryItem(b"", self._attributes(self._root, status))
        pending = [b""]
        while pending:
            directory = pending.pop()
            for item in self._directory(directory):
                if isinstance(item, DirectoryItem):
                    pending.append(item.path)
                yield item

    def lacks(self, path: bytes) -> bool:
        """See ``Source.lacks``."""
        try:
            mode = os.lstat(self._root + b"/" + path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError as exc:
            raise _unreadable(path, exc) from exc
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))

    def close(self) -> None:
        """See ``Source.close``."""

    def _directory(self, directory: bytes) -> Iterator[Item]:
        place = self._root + b"/" + directory if directory else self._root
        prefix = directory + b"/" if directory else b""
        names: dict[tuple[int, int], bytes] = {}
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    yield self._item(prefix + entry.name, entry, names)
        except OSError as exc:
            raise _unreadable(exc.filename or place, exc) from exc

    def _item(self, path: bytes, entry: os.DirEntry[bytes], names: dict[tuple[int, int], bytes]) -> Item:
        status = entry.stat(follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFREG:
            if status.st_nlink > 1:
                first = names.setdefault((status.st_dev, status.st_ino), path)
                if first != path:
                    return HardLinkItem(path, first)
            extent = Extent(entry.path, 0, status.st_size, stamp(status))
            return FileItem(path, self._attributes(entry.path, status), status.st_size, extent)
        if kind == stat.S_IFDIR:
            return DirectoryItem(path, self._attributes(entry.path, status))
        if kind == stat.S_IFLNK:
            target = os.readlink(entry.path)  # noqa: PTH115 - names are bytes here
            return LinkItem(path, target, self._attributes(entry.path, status))
        return Refusal(path, f"is {_KINDS.get(kind, 'a special file')}, which are not published")

    def _attributes(self, place: bytes, status: os.stat_result) -> Attributes:
        if not self._with_xattrs:
            return attributes(status.st_mode, status.st_mtime_ns)
        names = map(os.fsencode, os.listxattr(place, follow_symlinks=False))
        xattrs = [
            (name, os.getxattr(place, name, follow_symlinks=False))
            for name in names
            if name.startswith(_USER_ATTRIBUTES)
        ]
        return attributes(status.st_mode, status.st_mtime_ns, xattrs)


def _unreadable(path: bytes | str, exc: OSError) -> SourceError:
    return SourceError(f"{os.fsencode(path).decode(errors='backslashreplace')} cannot be read: {exc.strerror}")
