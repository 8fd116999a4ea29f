"""Seconds from the PUT of one object to the revision that shows it over HTTP, and start-up time of the embedded stack.

Single puts, one after the other, on a stack of its own with real servers and workers. There is no peer: nothing else
does this.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

from softman.cli.demo.canary import Canary
from softman.cli.demo.narrator import Narrator
from softman.cli.demo.story import Story, request
from softman.cli.demo.watch import content, wait_visible
from softman.cli.output import Output
from softman.cvmfs.errors import PathError
from softman.cvmfs.snapshot import Snapshot
from softman.log import configure_logging
from softman.standalone.signals import signals_interrupt
from softman.standalone.stack import Stack

_LONGEST = 60.0


class Silent(Narrator):
    """Tells nobody: only figures are printed here."""

    def say(self, text: str) -> None:
        """See ``Narrator.say``."""

    def chapter(self, title: str) -> None:
        """See ``Narrator.chapter``."""

    def report(self, step: str, text: str, **facts: object) -> None:
        """See ``Narrator.report``."""


def say(name: str, value: float, unit: str = "s") -> None:
    print(json.dumps({"name": name, "value": round(value, 3), "unit": unit}), flush=True)


def shows(name: str, text: bytes) -> Callable[[Snapshot], bool]:
    def look(snapshot: Snapshot) -> bool:
        try:
            return content(snapshot, name) == text
        except PathError:
            return False

    return look


def put_to_visible(stack: Stack, puts: int) -> None:
    story = Story(stack, Silent(Output()))
    request(story)
    seconds = []
    for number in range(puts + 1):
        name, text = f"bench/{number}.txt", b"number %d\n" % number
        started = time.monotonic()
        story.bucket.put(name, text)
        sight = wait_visible(story.reader, name, shows(name, text), since=started, seconds=_LONGEST)
        if number:  # the first one warms caches and connections up
            seconds.append(sight.seconds)
    say(f"PUT to visible, median of {puts}", statistics.median(seconds))
    say(f"PUT to visible, 99th percentile of {puts}", sorted(seconds)[max(0, -(-len(seconds) * 99 // 100) - 1)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--puts", type=int, default=50)
    arguments = parser.parse_args()
    configure_logging(level="WARNING")  # standard output is for figures
    servers, all_of_it = [], []
    for number in range(arguments.starts):
        started = time.monotonic()
        with signals_interrupt(), Stack.start() as stack:
            servers.append(time.monotonic() - started)
            with Canary(stack) as canary:
                if number == arguments.starts - 1:
                    canary.send()
                begun = time.monotonic()
                stack.start_workers(flower=False)
                all_of_it.append(servers[-1] + time.monotonic() - begun)
                if number == arguments.starts - 1:
                    canary.wait()
                    put_to_visible(stack, arguments.puts)
    say(f"start of the embedded servers, median of {arguments.starts}", statistics.median(servers))
    say(f"start of servers and workers, median of {arguments.starts}", statistics.median(all_of_it))


if __name__ == "__main__":
    main()
