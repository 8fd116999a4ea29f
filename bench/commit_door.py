"""Stratum 0 in a process of its own, as it is on a site: pickled requests in on standard input, answers out."""

import pickle
import sys

from softman import wiring
from softman.log import configure_logging
from softman.settings import load_settings


def main() -> None:
    configure_logging(level="ERROR")
    stratum0 = wiring.stratum0(load_settings())
    out = sys.stdout.buffer
    sys.stdout = sys.stderr
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
        except EOFError:
            return
        pickle.dump(stratum0.commit(request), out)
        out.flush()


if __name__ == "__main__":
    main()
