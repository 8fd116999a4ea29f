"""Unpacking the archives of the test data."""

import tarfile
from pathlib import Path
from typing import Any


def unpack(archive: Path, directory: Path) -> None:
    """Extract one of our own archives. Debian 12 has Python 3.11.2; extraction filters came with 3.11.4."""
    safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as opened:
        opened.extractall(directory, **safely)  # noqa: S202 - our own archive
