"""Has a candidate inspected by a short-lived process (``candidate``), and understands how that process ends."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softman.cvmfs.candidate import ACCEPTED, FAILED, REJECTED, Request
from softman.cvmfs.errors import CandidateRejected, CvmfsError, StoreUnavailable
from softman.cvmfs.format.hashes import ContentHash, ObjectKind

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
