"""Short-lived processes that open what strangers made: how they are started, served and understood.

Such a process holds no secret, limits itself before it opens anything, asks for files through a descriptor, and answers
with one JSON object on standard output. Its side is ``confinement``.
"""

import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from softman.cvmfs.confinement import DONE, FAILED, REJECTED
from softman.cvmfs.errors import CandidateRejected, CvmfsError, StoreUnavailable

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
# As little as possible, and nothing of the caller's environment: a faster start, and nothing to find for whoever
# breaks SQLite.
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from {} import main; sys.exit(main(sys.argv[1:]))"
_MAX_QUESTION = 200
_MAX_ANSWER = 256 * 1024 * 1024
_SIGNALS_OF_THE_MACHINE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def ask_confined(
    module: str,
    request: str,
    work: Path,
    supply: Callable[[bytes], Path],
    *,
    timeout: float,
    what: str,
    packages: bool = False,
) -> dict[str, Any]:
    """Run ``main`` of a module in a process of its own.

    Args:
        module: of this library; its ``main`` gets the request and the number of a descriptor.
        request: the first argument.
        work: a directory for its files.
        supply: given a line that the process wrote into the descriptor, leaves a file in ``work``.
        timeout: seconds, by the clock on the wall.
        what: is done, for messages.
        packages: whether it needs more than this library and Python's own.

    Returns:
        Its answer.

    Raises:
        CandidateRejected: what it opened breaks a rule, or it broke on that.
        StoreUnavailable: the machine could not do it now. Errors of ``supply`` pass through.
    """
    answer, errors = work / "answer.json", work / "errors.txt"
    flags = ["-I"] if packages else ["-I", "-S"]
    questions, theirs = os.pipe()
    with open(questions, "rb", buffering=0) as asked, answer.open("wb") as out, errors.open("wb") as err:  # noqa: PTH123 - a descriptor
        try:
            process = subprocess.Popen(
                [sys.executable, *flags, "-c", _START.format(module), _PACKAGE_ROOT, request, str(theirs)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                env={"SQLITE_TMPDIR": str(work)},
                cwd=work,
                pass_fds=(theirs,),
            )
        except OSError as exc:
            raise StoreUnavailable(f"{what} cannot be started: {exc.strerror}") from exc
        finally:
            os.close(theirs)
        code = _serve(process, asked, supply, timeout, what)
    if code in {DONE, REJECTED, FAILED} and answer.stat().st_size <= _MAX_ANSWER:
        return _understood(json.loads(answer.read_bytes()), what)
    raise _broken(code, errors.read_text(errors="backslashreplace")[-400:], what)


def _serve(
    process: subprocess.Popen[bytes],
    asked: io.FileIO,
    supply: Callable[[bytes], Path],
    timeout: float,
    what: str,
) -> int:
    """Answer the process's questions until it ends, and end it when it does not; the exit code."""
    deadline = time.monotonic() + timeout
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    try:
        while True:
            ready, _, _ = select.select([asked], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise StoreUnavailable(f"{what} took more than {timeout:g} s")
            question = asked.read(_MAX_QUESTION)
            if not question:
                return process.wait(max(1, deadline - time.monotonic()))
            answer = supply(question).name
            with suppress(BrokenPipeError):  # it is ending
                process.stdin.write(answer.encode() + b"\n")
                process.stdin.flush()
    except subprocess.TimeoutExpired as exc:
        raise StoreUnavailable(f"{what} took more than {timeout:g} s") from exc
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        with suppress(BrokenPipeError):
            process.stdin.close()


def _understood(answer: dict[str, Any], what: str) -> dict[str, Any]:
    if "rejected" in answer:
        raise CandidateRejected(str(answer["rejected"]))
    if "failed" in answer:
        raise StoreUnavailable(f"{what} could not be done: {answer['failed']}")
    return answer


def _broken(code: int, errors: str, what: str) -> CvmfsError:
    if -code in _SIGNALS_OF_THE_MACHINE:
        return StoreUnavailable(f"{what} was ended by signal {-code}")
    if code < 0:
        reason = "takes too much time" if -code == signal.SIGXCPU else f"ends with signal {-code}"
        return CandidateRejected(f"{what} {reason}")
    last = errors.strip().splitlines()[-1:] or ["no message"]
    return CandidateRejected(f"{what} ends with code {code}: {last[0]}")
