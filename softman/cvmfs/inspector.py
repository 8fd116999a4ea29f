"""Has a candidate inspected by a short-lived process (``candidate``), and understands how that process ends."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softman.cvmfs.candidate import ACCEPTED, FAILED, REJECTED, Request
from softman.cvmfs.errors import CandidateRejected, CvmfsError, ObjectMissing, StoreUnavailable
from softman.cvmfs.fetch import ObjectFetcher
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, Hasher, ObjectKind
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import PIECE_SIZE, compressed_bound
from softman.cvmfs.staging import staged_name
from softman.cvmfs.store.base import StagedStore

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
# Neither site packages nor the caller's environment: a faster start, and nothing to find for whoever breaks SQLite.
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from softman.cvmfs.candidate import main; "
_START += "sys.exit(main(sys.argv[1:]))"
_GIB = 1024**3
_MAX_ANSWER = 256 * 1024 * 1024
_SIGNALS_OF_THE_MACHINE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


@dataclass(frozen=True, slots=True)
class Limits:
    """What stratum 0 accepts in one repository, and what an inspection may take.

    ``lease_path`` is the directory that may change, ``b""`` for everything. Sizes are in bytes, times in seconds.
    """

    max_entries: int = 10_000_000
    max_bytes: int = 10 * 1024**4
    lease_path: bytes = b""
    max_catalog_bytes: int = 4 * _GIB
    """Of the root catalog's database."""
    timeout: float = 300.0
    cpu_seconds: int = 240
    memory_bytes: int = _GIB


@dataclass(frozen=True, slots=True)
class Report:
    """An accepted candidate: the size of its database, what it adds up to, and the objects it needs."""

    root_size: int
    entries: int
    bytes: int
    objects: tuple[tuple[ContentHash, ObjectKind], ...]


def inspect_staged(
    store: StagedStore,
    current: Manifest,
    candidate: ContentHash,
    transaction: str,
    limits: Limits,
    *,
    now: int,
    work: Path,
) -> Report:
    """Inspect a candidate that a publisher staged, as the successor of the revision in force.

    Args:
        store: of the repository.
        current: the manifest in force.
        candidate: the root catalog to inspect.
        transaction: in whose staging area it lies.
        limits: what to accept.
        now: Unix time, seconds.
        work: an empty directory for copies and scratch files.

    Raises:
        CandidateRejected: it is not there, is not what it is named, or breaks a rule.
        StoreUnavailable: the storage or this machine cannot do it now.
    """
    largest = max(limits.max_catalog_bytes, current.root_size)
    mine, base = work / "candidate.z", work / "base.z"
    _take(store, transaction, candidate, mine, compressed_bound(limits.max_catalog_bytes))
    fetcher = ObjectFetcher(store, work_dir=work)
    with fetcher.open(current.root_hash, ObjectKind.CATALOG, max_stored=compressed_bound(largest)) as file:
        _copy(file.read, base)
    request = Request(
        candidate=str(mine),
        base=str(base),
        work=str(work),
        base_revision=current.revision,
        base_root_hash=str(current.root_hash),
        ttl=current.ttl,
        now=now,
        algorithm=candidate.algorithm.value,
        max_entries=limits.max_entries,
        max_bytes=limits.max_bytes,
        max_catalog_bytes=limits.max_catalog_bytes,
        lease_path=os.fsdecode(limits.lease_path),
        memory_bytes=limits.memory_bytes,
        cpu_seconds=limits.cpu_seconds,
        file_bytes=4 * largest,
    )
    return run_inspection(request, timeout=limits.timeout)


def _take(store: StagedStore, transaction: str, candidate: ContentHash, target: Path, max_size: int) -> None:
    """Copy the staged catalog out of the publisher's reach, then hash the copy.

    An earlier attempt at the same commit may have promoted it already.
    """
    name = staged_name(candidate, ObjectKind.CATALOG)
    try:
        with ExitStack() as opened:
            try:
                file = opened.enter_context(store.open_staged(transaction, name))
            except ObjectMissing:
                fetcher = ObjectFetcher(store, work_dir=target.parent)
                file = opened.enter_context(fetcher.open(candidate, ObjectKind.CATALOG, max_stored=max_size))
            found = _copy(file.read, target, candidate.algorithm, max_size)
    except ObjectMissing as exc:
        raise CandidateRejected(f"the candidate {candidate} is not in the staging area") from exc
    if found != candidate:
        raise CandidateRejected(f"the staged catalog {name} has the hash {found}")


def _copy(
    read: Callable[[int], bytes],
    target: Path,
    algorithm: HashAlgorithm = HashAlgorithm.SHA1,
    max_size: int | None = None,
) -> ContentHash:
    """Copy a stream to a new file; the hash of what was written."""
    hasher, size = Hasher(algorithm), 0
    with target.open("xb") as file:
        while piece := read(PIECE_SIZE):
            size += len(piece)
            if max_size is not None and size > max_size:
                raise CandidateRejected(f"the candidate has more than {max_size} bytes as stored")
            hasher.update(piece)
            file.write(piece)
    return hasher.finish()


def run_inspection(request: Request, *, timeout: float) -> Report:
    """Inspect a candidate in a process of its own.

    Args:
        request: what to inspect.
        timeout: seconds, by the clock on the wall; the limit of CPU time is in the request.

    Raises:
        CandidateRejected: the candidate breaks a rule, or the process broke on it.
        StoreUnavailable: the machine could not do it now.
    """
    work = Path(request.work)
    answer, errors = work / "answer.json", work / "errors.txt"
    with answer.open("wb") as out, errors.open("wb") as err:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, _PACKAGE_ROOT, request.to_json()],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={"SQLITE_TMPDIR": request.work},
                cwd=request.work,
            )
        except OSError as exc:
            raise StoreUnavailable(f"the inspection of the candidate cannot be started: {exc.strerror}") from exc
    code = _wait(process, timeout)
    if code in {ACCEPTED, REJECTED, FAILED} and answer.stat().st_size <= _MAX_ANSWER:
        return _report(json.loads(answer.read_bytes()))
    raise _broken(code, errors.read_text(errors="backslashreplace")[-400:])


def _wait(process: subprocess.Popen[bytes], timeout: float) -> int:
    """Wait for the process to end, and end it when it does not; the exit code."""
    try:
        with suppress(OSError):  # no such system call: wait less promptly
            descriptor = os.pidfd_open(process.pid)
            try:
                # `Popen.wait` with a timeout looks every 50 ms, which is longer than most inspections take.
                select.select([descriptor], [], [], timeout)
                return process.wait(0)
            finally:
                os.close(descriptor)
        return process.wait(timeout)
    except subprocess.TimeoutExpired as exc:
        raise StoreUnavailable(f"the inspection of the candidate took more than {timeout:g} s") from exc
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _report(answer: dict[str, Any]) -> Report:
    if "rejected" in answer:
        raise CandidateRejected(str(answer["rejected"]))
    if "failed" in answer:
        raise StoreUnavailable(f"the candidate could not be inspected: {answer['failed']}")
    return Report(answer["root_size"], answer["entries"], answer["bytes"], tuple(_objects(answer["objects"])))


def _objects(names: Iterable[str]) -> Iterable[tuple[ContentHash, ObjectKind]]:
    for name in names:
        kind = ObjectKind.CHUNK if name.endswith(ObjectKind.CHUNK.value) else ObjectKind.FILE
        yield ContentHash.parse(name.removesuffix(kind.value)), kind


def _broken(code: int, errors: str) -> CvmfsError:
    if -code in _SIGNALS_OF_THE_MACHINE:
        return StoreUnavailable(f"the inspection of the candidate was ended by signal {-code}")
    if code < 0:
        reason = "takes too much time" if -code == signal.SIGXCPU else f"ends with signal {-code}"
        return CandidateRejected(f"the inspection of the candidate {reason}")
    last = errors.strip().splitlines()[-1:] or ["no message"]
    return CandidateRejected(f"the inspection of the candidate ends with code {code}: {last[0]}")
