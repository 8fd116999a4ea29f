"""Dead letters in memory, for development and tests."""

import threading
from collections.abc import Callable
from dataclasses import replace

from softman.errors import InvalidInput
from softman.model import DeadLetter, Death, Fate


class MemoryDeadLetters:
    """``DeadLetters``; ``letters`` are those that lie there, ``returned`` those that were put back, in order."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.returned: list[DeadLetter] = []
        self._lock = threading.Lock()

    def bury(self, letter: DeadLetter, reason: str, at: float) -> None:
        """Let a message die, again if it was put back before."""
        self.letters.append(replace(letter, deaths=(Death(at, letter.queue, reason), *letter.deaths)))

    def count(self) -> int:
        """See ``DeadLetters.count``."""
        return len(self.letters)

    def visit(self, decide: Callable[[DeadLetter], Fate]) -> None:
        """See ``DeadLetters.visit``."""
        with self._lock:
            for letter in tuple(self.letters):
                fate = decide(letter)
                if fate is Fate.KEEP:
                    continue
                if fate is Fate.REQUEUE:
                    if not letter.queue:
                        msg = f"dead letter {letter.id} cannot go back: the queue it came from is not known"
                        raise InvalidInput(msg)
                    self.returned.append(letter)
                self.letters.remove(letter)
