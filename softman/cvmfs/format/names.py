"""Repository names: what a fully qualified repository name (fqrn) may look like.

Source: ``cvmfs/publish/settings.cc`` and ``cvmfs/server/cvmfs_server_ssl.sh`` of CernVM-FS 2.12.
"""

import re
from typing import Final

from softman.cvmfs.errors import FormatError

MAX_REPOSITORY_NAME: Final = 60
"""Longest name, in characters."""

_REPOSITORY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_repository_name(name: str) -> str:
    """Give ``name`` back when it may name a repository.

    A name becomes part of paths and URLs, so everything that reads or takes one comes by here.

    Raises:
        FormatError: other characters than ASCII letters, digits, ``-``, ``_`` and ``.``, not starting with a letter or
            digit, two dots in a row, empty, or longer than 60 characters.
    """
    if len(name) > MAX_REPOSITORY_NAME or ".." in name or _REPOSITORY_NAME.fullmatch(name) is None:
        raise FormatError(f"not a repository name: {name[:80]!r}")
    return name
