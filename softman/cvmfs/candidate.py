"""The process that inspects a candidate: ``python -m softman.cvmfs.candidate REQUEST DESCRIPTOR``.

SQLite meets a stranger's bytes here and nowhere else, so this process holds no secret, gets a memory, CPU and file
size limit before it opens anything, and ends after one candidate. Imports are few: its start is part of every commit.
``inspector`` is the side that starts it, and hands over the catalogs that are asked for through the descriptor. The
answer is one JSON object on standard output.
"""

import json
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from softman.cvmfs.base_catalogs import BaseCatalogs
from softman.cvmfs.confinement import DONE, FAILED, REJECTED, asking, limit
from softman.cvmfs.errors import CandidateRejected, CvmfsError, FormatError, TooLarge
from softman.cvmfs.format.catalog import NestedCatalog
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm
from softman.cvmfs.format.objects import inflate
from softman.cvmfs.inspection import Findings, Inspection, Terms

_PIECE = 256 * 1024
_WAL_FORMAT = b"\x02"


@dataclass(frozen=True, slots=True)
class Request:
    """What to inspect. ``work`` is a directory for scratch files."""

    candidate: str
    """The hash of its root catalog."""
    work: str
    base_revision: int
    base_root_hash: str
    ttl: int
    now: int
    algorithm: str
    max_entries: int
    max_bytes: int
    max_catalog_bytes: int
    lease_path: str
    """As ``os.fsdecode`` makes it."""
    links_within: str
    """See ``Limits``."""
    quota_note: str
    """Same."""
    memory_bytes: int
    cpu_seconds: int
    file_bytes: int
    """The largest scratch file: of any catalog, or of SQLite's sorters."""

    def to_json(self) -> str:
        """The text that ``main`` takes as its argument."""
        return json.dumps(asdict(self))


class Origin(StrEnum):
    """Where a catalog is to come from."""

    CANDIDATE = "candidate"
    """The staging area, or the store if it was promoted by an earlier attempt."""
    BASE = "base"
    """The store."""


Supply = Callable[[Origin, str], Path]
"""Gives a file with the stored (compressed) bytes of the catalog of a hash. The file is ours to remove."""


class Catalogs:
    """Inflates what ``supply`` gives."""

    def __init__(self, request: Request, supply: Supply) -> None:
        self._work = Path(request.work)
        self._supply = supply
        self._largest = request.max_catalog_bytes
        self._count = 0
        self.root_size = 0

    def of_candidate(self, wanted: NestedCatalog) -> Path:
        """The database of a catalog of the candidate.

        Raises:
            CandidateRejected: it is too large, not of the size announced, or no database.
        """
        where = f"the catalog of {wanted.path!r}" if wanted.path else "the candidate"
        limit = wanted.size or self._largest
        try:
            database = self._inflated(Origin.CANDIDATE, wanted, limit)
        except TooLarge as exc:
            raise CandidateRejected(f"{where} has more than {limit} bytes") from exc
        except FormatError as exc:
            raise CandidateRejected(f"{where} cannot be inflated: {exc}") from exc
        size = database.stat().st_size
        if wanted.path and size != wanted.size:
            raise CandidateRejected(f"{where} has {size} bytes, not the {wanted.size} announced")
        if not wanted.path:
            self.root_size = size
        with database.open("rb") as file:
            header = file.read(20)
        if not header.startswith(b"SQLite format 3\0") or _WAL_FORMAT in {header[18:19], header[19:20]}:
            raise CandidateRejected(f"{where} is no SQLite database in rollback-journal format")
        return database

    def of_base(self, wanted: NestedCatalog) -> Path:
        """The database of a catalog in force.

        Raises:
            CorruptBase: it cannot be inflated.
        """
        try:
            return self._inflated(Origin.BASE, wanted, sys.maxsize)
        except FormatError as exc:
            raise CorruptBase(f"the catalog in force of {wanted.path!r}: {exc}") from exc

    def _inflated(self, origin: Origin, wanted: NestedCatalog, max_size: int) -> Path:
        source = self._supply(origin, str(wanted.hash))
        self._count += 1
        target = self._work / f"{self._count}.db"
        with source.open("rb") as stored, target.open("wb") as file:
            file.writelines(inflate(iter(lambda: stored.read(_PIECE), b""), max_size=max_size))
        source.unlink()
        return target


class CorruptBase(CvmfsError):
    """A catalog in force cannot be read, for which no candidate can be blamed."""


def inspect(request: Request, supply: Supply) -> tuple[int, Findings]:
    """Inspect all catalogs of a candidate that are new or have changed.

    Returns:
        The size of the root catalog's database in bytes, and what was found.

    Raises:
        CandidateRejected: the candidate breaks a rule.
        OSError, sqlite3.OperationalError: the machine's fault.
        CorruptBase: a catalog in force cannot be inflated.
    """
    catalogs = Catalogs(request, supply)
    root = NestedCatalog(b"", ContentHash.parse(request.base_root_hash), 0)
    with closing(BaseCatalogs(root, catalogs.of_base)) as base:
        findings = Inspection(catalogs.of_candidate, base, _terms(request)).run(ContentHash.parse(request.candidate))
    return catalogs.root_size, findings


def _terms(request: Request) -> Terms:
    return Terms(
        base_revision=request.base_revision,
        base_root_hash=request.base_root_hash,
        ttl=request.ttl,
        now=request.now,
        algorithm=HashAlgorithm(request.algorithm),
        max_entries=request.max_entries,
        max_bytes=request.max_bytes,
        max_catalog_bytes=request.max_catalog_bytes,
        lease_path=os.fsencode(request.lease_path),
        links_within=os.fsencode(request.links_within),
        quota_note=request.quota_note,
    )


def _supply(ask: Callable[[str], Path]) -> Supply:
    return lambda origin, content_hash: ask(f"{origin.value} {content_hash}")


def main(arguments: list[str]) -> int:
    """Inspect what the first argument asks for (see ``Request``), asking for catalogs through the second."""
    request = Request(**json.loads(arguments[0]))
    limit(request.memory_bytes, request.cpu_seconds, request.file_bytes)
    answer: dict[str, object]
    try:
        size, findings = inspect(request, _supply(asking(int(arguments[1]), Path(request.work))))
        answer = {"root_size": size, **asdict(findings)}
        code = DONE
    except CandidateRejected as exc:
        answer, code = {"rejected": str(exc)}, REJECTED
    except MemoryError:
        answer, code = {"rejected": "the candidate needs more memory than allowed"}, REJECTED
    except (OSError, CorruptBase, sqlite3.OperationalError) as exc:
        answer, code = {"failed": str(exc)}, FAILED
    sys.stdout.write(json.dumps(answer))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
