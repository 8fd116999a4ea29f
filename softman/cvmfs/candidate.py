"""The process that inspects a candidate: ``python -m softman.cvmfs.candidate REQUEST``.

SQLite meets a stranger's bytes here and nowhere else, so this process holds no secret, gets a memory, CPU and file
size limit before it opens anything, and ends after one candidate. Imports are few: its start is part of every commit.
``inspector`` is the side that starts it. The answer is one JSON object on standard output.
"""

import json
import os
import resource
import sqlite3
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from softman.cvmfs.errors import CandidateRejected, FormatError, TooLarge
from softman.cvmfs.format.hashes import HashAlgorithm
from softman.cvmfs.format.objects import inflate
from softman.cvmfs.inspection import Findings, Inspection, Terms

ACCEPTED = 0
REJECTED = 3
"""Exit code when the candidate breaks a rule; the answer is ``{"rejected": reason}``."""
FAILED = 4
"""Exit code when the machine could not do it; the answer is ``{"failed": reason}``."""

_PIECE = 256 * 1024
_LONGEST_VALUE = 256 * 1024
_WAL_FORMAT = b"\x02"


@dataclass(frozen=True, slots=True)
class Request:
    """What to inspect. Both catalogs are files with the stored (compressed) bytes; scratch files go to ``work``."""

    candidate: str
    base: str
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
    memory_bytes: int
    cpu_seconds: int
    file_bytes: int
    """The largest scratch file: of either catalog, or of SQLite's sorters."""

    def to_json(self) -> str:
        """The text that ``main`` takes as its argument."""
        return json.dumps(asdict(self))


def inspect(request: Request) -> tuple[int, Findings]:
    """Inflate and compare both catalogs.

    Returns:
        The size of the candidate's database in bytes, and what was found.

    Raises:
        CandidateRejected: the candidate breaks a rule.
        OSError, sqlite3.OperationalError: the machine's fault.
        FormatError: the catalog in force cannot be inflated.
    """
    work = Path(request.work)
    candidate, base = work / "candidate.db", work / "base.db"
    try:
        _inflate_to(candidate, Path(request.candidate), request.max_catalog_bytes)
    except TooLarge as exc:
        raise CandidateRejected(f"the candidate has more than {request.max_catalog_bytes} bytes") from exc
    except FormatError as exc:
        raise CandidateRejected(f"the candidate cannot be inflated: {exc}") from exc
    _inflate_to(base, Path(request.base), sys.maxsize)
    with candidate.open("rb") as file:
        header = file.read(20)
    if not header.startswith(b"SQLite format 3\0") or _WAL_FORMAT in {header[18:19], header[19:20]}:
        raise CandidateRejected("the candidate is no SQLite database in rollback-journal format")
    with closing(sqlite3.connect(_uri(candidate), uri=True, isolation_level=None)) as connection:
        try:
            _prepare(connection, base)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
            raise CandidateRejected(f"the candidate is no SQLite database: {exc}") from exc
        findings = Inspection(connection, _terms(request)).run()
    return candidate.stat().st_size, findings


def _terms(request: Request) -> Terms:
    return Terms(
        base_revision=request.base_revision,
        base_root_hash=request.base_root_hash,
        ttl=request.ttl,
        now=request.now,
        algorithm=HashAlgorithm(request.algorithm),
        max_entries=request.max_entries,
        max_bytes=request.max_bytes,
        lease_path=os.fsencode(request.lease_path),
    )


def _inflate_to(target: Path, source: Path, max_size: int) -> None:
    with source.open("rb") as stored, target.open("wb") as file:
        file.writelines(inflate(iter(lambda: stored.read(_PIECE), b""), max_size=max_size))


def _prepare(connection: sqlite3.Connection, base: Path) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON", "cache_size=-16384"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("ATTACH ? AS base", (_uri(base),))
    connection.execute("PRAGMA base.cache_size=-16384")


def _uri(path: Path) -> str:
    return f"file:{quote(str(path))}?mode=ro&immutable=1"


def _limit(request: Request) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (request.memory_bytes, request.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (request.cpu_seconds, request.cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (request.file_bytes, request.file_bytes))


def main(arguments: list[str]) -> int:
    """Inspect what the one argument asks for; see ``Request``."""
    request = Request(**json.loads(arguments[0]))
    _limit(request)
    answer: dict[str, object]
    try:
        size, findings = inspect(request)
        answer = {"root_size": size, **asdict(findings)}
        code = ACCEPTED
    except CandidateRejected as exc:
        answer, code = {"rejected": str(exc)}, REJECTED
    except MemoryError:
        answer, code = {"rejected": "the candidate needs more memory than allowed"}, REJECTED
    except (OSError, FormatError, sqlite3.OperationalError) as exc:  # the base was verified: nobody's candidate is it
        answer, code = {"failed": str(exc)}, FAILED
    sys.stdout.write(json.dumps(answer))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
