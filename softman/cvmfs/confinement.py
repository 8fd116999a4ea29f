"""What a process that opens what strangers made does for itself; ``confined`` starts it. Imports are few."""

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

DONE: Final = 0
REJECTED: Final = 3
"""Exit code when what was opened breaks a rule; the answer is ``{"rejected": reason}``."""
FAILED: Final = 4
"""Exit code when the machine could not do it; the answer is ``{"failed": reason}``."""


def limit(memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    """Take from this process what it will not need. For good."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))


def asking(descriptor: int, work: Path) -> Callable[[str], Path]:
    """The other side of ``supply``, in the process: ask for a file with one line, and get its path."""

    def ask(question: str) -> Path:
        os.write(descriptor, f"{question}\n".encode())
        name = sys.stdin.readline().strip()
        if not name:
            raise OSError("the process that started this one is gone")
        return work / name

    return ask
