"""Runs a program, and runs it again when it crashes: ``restarter.py [COMMAND ARGUMENT... --] PROGRAM ARGUMENT...``.

The command before the two dashes is run to its end before each start of the program, whatever it returns.

For servers that lose nothing with their process. radosgw 16.2 dies of a segmentation fault now and then, in the thread
``msgr-worker-0``, on a busy machine more often; its data is in the cluster behind it. An end by any other way than a
crash is the end of this program, with the same status; SIGTERM and SIGINT are passed on, and then nothing is started.

The file is run as it is, so that it starts quickly: it needs nothing but the standard library.
"""

import signal
import subprocess
import sys
import time
from types import FrameType

CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})
"""How a program ends that has gone wrong by itself; SIGKILL comes from outside."""
_PAUSE_SECONDS = 0.2
_STOPPING = (signal.SIGTERM, signal.SIGINT)


def keep(command: list[str], before: list[str] | None = None) -> int:
    """Run ``command`` until it ends without a crash, or a signal to stop comes.

    Args:
        command: program and arguments.
        before: what is run before each start; it has to end by itself.

    Returns:
        Its exit status; 128 and the signal's number when a signal ended it.
    """
    stopped = False
    child: subprocess.Popen[bytes] | None = None

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        if child is not None:
            child.send_signal(number)

    for number in _STOPPING:
        signal.signal(number, stop)
    while True:
        if before:
            subprocess.run(before, check=False)
        child = subprocess.Popen(command)
        if stopped:  # the signal came before there was a child to tell
            child.terminate()
        status = child.wait()
        if stopped or -status not in CRASHES:
            return status if status >= 0 else 128 - status
        name = signal.Signals(-status).name
        print(f"restarter: {command[0]} ended by {name}, and is started again", flush=True)  # noqa: T201 - the server's log
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    words = sys.argv[1:]
    place = words.index("--") if "--" in words else 0
    sys.exit(keep(words[place + 1 :], words[:place]) if place else keep(words))
