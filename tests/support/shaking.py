"""Trouble on purpose beside the tests: ``SOFTMAN_TEST_SHAKE`` names it, ``radosgw``, ``load`` or both with a comma."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from softman.standalone.stack import Stack

SHAKE = "SOFTMAN_TEST_SHAKE"
_KINDS = {"radosgw", "load"}
_PAUSE_SECONDS = (45.0, 90.0)
"""Between crashes: notifications go on 30 s after a start."""


def asked(kind: str) -> bool:
    """Whether this kind of trouble is wanted.

    Raises:
        UsageError: the variable names something else.
    """
    kinds = set(filter(None, os.environ.get(SHAKE, "").split(",")))
    if unknown := kinds - _KINDS:
        msg = f"{SHAKE} knows {sorted(_KINDS)}, not {sorted(unknown)}"
        raise pytest.UsageError(msg)
    return kind in kinds


@contextmanager
def shaken(stack: Stack) -> Iterator[None]:
    """The stack's object gateway crashes every minute or so, when that is asked for; its restarter starts it again."""
    if not asked("radosgw"):
        yield
        return
    over = threading.Event()

    def shake() -> None:
        chance = random.Random()
        while not over.wait(chance.uniform(*_PAUSE_SECONDS)):
            crash_gateway(stack)

    thread = threading.Thread(target=shake, name="shake radosgw", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def crash_gateway(stack: Stack) -> None:
    """End radosgw as its own crashes do, by SIGSEGV. After SIGKILL, an end from outside, it would stay away."""
    leader = stack.processes.identity("rgw")
    if leader is None or not leader.alive():
        return
    try:
        for gateway in psutil.Process(leader.pid).children():
            gateway.send_signal(signal.SIGSEGV)
    except psutil.NoSuchProcess:  # it has ended just now
        return


@contextmanager
def loaded() -> Iterator[None]:
    """Every core has something else to do, when that is asked for."""
    with ExitStack() as exits:
        for _ in range(os.cpu_count() or 1 if asked("load") else 0):
            busy = exits.enter_context(subprocess.Popen([sys.executable, "-c", _BUSY], stdin=subprocess.PIPE))
            exits.callback(busy.kill)
        yield


_BUSY = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""
"""Ends with the tests, however they end."""
