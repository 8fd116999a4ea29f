"""How the demo speaks: headings and sentences for people, one object a step for programs."""

import time

from softman.cli.output import Output


class Narrator:
    """Tells what happens, as it happens.

    Args:
        output: where to.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._started = time.monotonic()
        self._chapters = 0

    def chapter(self, title: str) -> None:
        """Begin a new part."""
        self._chapters += 1
        if not self._output.as_json:
            self._output.line()
            self._output.line(f"{self._chapters}. {title}")

    def say(self, text: str) -> None:
        """Tell people something that programs need not know."""
        if not self._output.as_json:
            self._output.line(f"   {text}")

    def report(self, step: str, text: str, **facts: object) -> None:
        """Tell a result.

        Args:
            step: its name for programs.
            text: the same for people.
            facts: what was measured; numbers in seconds and bytes.
        """
        if self._output.as_json:
            self._output.record({"step": step, "at": round(time.monotonic() - self._started, 3), **facts})
        else:
            self.say(text)
