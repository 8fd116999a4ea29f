"""Where the files of a repository lie: a directory, a web server, memory, or whatever satisfies ``Store``.

A store is the directory of **one** repository, the one that holds ``.cvmfspublished``.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from softman.cvmfs.errors import FormatError
from softman.cvmfs.store.base import Readable, ReadableStore, StagedStore, Store, StoredFile, check_name
from softman.cvmfs.store.local import LocalStore
from softman.cvmfs.store.memory import MemoryStore

__all__ = [
    "LocalStore",
    "MemoryStore",
    "Readable",
    "ReadableStore",
    "StagedStore",
    "Store",
    "StoredFile",
    "check_name",
    "open_store",
]


def open_store(url: str, ca_file: Path | None = None) -> ReadableStore:
    """The store at ``url``, for reading.

    Args:
        url: ``file:///...``, ``http://...`` or ``https://...`` of the directory that holds ``.cvmfspublished``.
        ca_file: the authorities for ``https``; None for those of the system.

    Raises:
        FormatError: another scheme, a file URL with a host, or a relative path.
    """
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"}:
        from softman.cvmfs.store.http import HttpStore  # noqa: PLC0415 - local storage needs no HTTP client

        return HttpStore([url], ca_file=ca_file)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not path.is_absolute():
        raise FormatError(f"not a repository's address: {url!r}; file:///..., http://... and https://... are")
    return LocalStore(path)
