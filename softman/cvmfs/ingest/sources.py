"""Opening what is to be published."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from softman.cvmfs.ingest.directory import DirectorySource
from softman.cvmfs.ingest.items import Source


@contextmanager
def open_source(place: Path, *, with_xattrs: bool = False) -> Iterator[Source]:
    """What lies at ``place``: a directory, or else a tar archive.

    Args:
        place: a path of this machine.
        with_xattrs: publish extended attributes of the user name space.
    """
    source: Source
    if place.is_dir():
        source = DirectorySource(place, with_xattrs=with_xattrs)
    else:
        from softman.cvmfs.ingest.tar import TarSource  # noqa: PLC0415 - directories need no decompressors

        source = TarSource(place, with_xattrs=with_xattrs)
    try:
        yield source
    finally:
        source.close()
