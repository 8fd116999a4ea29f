"""What a publisher staged in a directory, as the objects of a gateway's packs."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from softman.cvmfs.areas import DirectoryArea
from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.gateway.client import GatewayLease
from softman.cvmfs.gateway.packs import PackedObject
from softman.cvmfs.staging import staged_name

_KINDS = {kind.value: kind for kind in (ObjectKind.CHUNK, ObjectKind.CATALOG)}


def staged_objects(directory: Path) -> Iterator[PackedObject]:
    """The objects in a staging area, catalogs last; what has another name than an object's is left out."""
    for is_catalog in (False, True):
        for path in directory.iterdir():
            kind = _KINDS.get(path.name[-1:], ObjectKind.FILE)
            if (kind is ObjectKind.CATALOG) != is_catalog:
                continue
            try:
                content = ContentHash.parse(path.name.removesuffix(kind.value))
            except FormatError:
                continue
            yield PackedObject(content, kind, path.stat().st_size)


def send_staged(lease: GatewayLease, area: DirectoryArea) -> None:
    """Send all that is in ``area``.

    Raises:
        GatewayError: as ``GatewayLease.send``.
    """

    def opened(item: PackedObject) -> BinaryIO:
        return (area.directory / staged_name(item.hash, item.kind)).open("rb")

    lease.send(staged_objects(area.directory), opened)
