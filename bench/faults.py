"""How long softman takes to heal, for each kind of fault, under a steady load; then a storm of all of them.

JSON lines: for each kind the seconds from the end of the fault until what was written in its middle is shown. Progress
and the table for people go to standard error. There is no peer.
"""

import argparse
import json
import random
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the storm is part of the tests

from softman.log import configure_logging
from tests.support.chaos.faults import FAULTS
from tests.support.chaos.scene import own_scene
from tests.support.chaos.storm import Report, Storm


def say(name: str, value: float, unit: str, **more: object) -> None:
    print(json.dumps({"name": name, "value": round(value, 3), "unit": unit, **more}), flush=True)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def figures(report: Report) -> None:
    for name, seconds in report.heal_times().items():
        say(f"healed: {name}", statistics.median(seconds), "s", most=round(max(seconds), 3), times=len(seconds))
    say("faults injected", len(report.injections), "faults", gateway_crashes=report.deaths, skipped=report.skipped)
    say("requests during the storm", report.requests.total(), "requests", **report.requests)
    say("revisions", report.revisions, "revisions")
    say("losses", len(report.wrong), "losses", what=report.wrong)
    say("quiet after the storm", report.settled, "s", dead_letters=report.letters)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--more", type=int, default=0, help="further faults, chosen by the seed, without waiting")
    parser.add_argument("--only", default="", help="only faults with this in their name")
    parser.add_argument("--repositories", type=int, default=6)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between the requests of a user")
    arguments = parser.parse_args()
    configure_logging(level="ERROR")  # standard output is for figures
    with own_scene(arguments.seed) as scene:
        tell(f"seed {arguments.seed}, {scene.servers.directory}")
        scene.add_targets([f"storm-{n}" for n in range(arguments.repositories)], arguments.seed, arguments.pause)
        storm = Storm(scene, arguments.seed, patient=not arguments.more, say=tell)
        possible = [fault for fault in storm.possible(FAULTS) if arguments.only in fault.name]
        chosen = possible + scene.random.choices(possible, k=arguments.more)
        try:
            report = storm.run(chosen)
        finally:
            tell(storm.report.table())
        figures(report)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
