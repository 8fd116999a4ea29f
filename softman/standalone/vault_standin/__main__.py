"""The command line of the stand-in; the package's docstring describes it."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from softman.errors import SoftmanError
from softman.standalone.vault_standin.api import StandIn
from softman.standalone.vault_standin.server import StandInServer
from softman.standalone.vault_standin.state import write_private

READY = "vault-standin ready"
"""How the line starts that says that the server answers; its address follows after a space."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        standin = StandIn(state_file=options.state, root_token=_root_token(options.root_token_file))
        server = StandInServer(standin, options.port)
    except (SoftmanError, OSError) as exc:
        sys.stderr.write(f"vault-standin cannot start: {exc}\n")
        return 1
    if options.root_token_file:
        write_private(options.root_token_file, standin.root_token + "\n")
    if options.unseal_key_file:
        write_private(options.unseal_key_file, standin.unseal_key + "\n")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with server:
        thread = threading.Thread(target=server.serve_forever, name="vault-standin", kwargs={"poll_interval": 0.1})
        thread.start()
        line = f"{READY} {server.address}\n"
        if options.ready_file:
            write_private(options.ready_file, line)
        sys.stdout.write(line)
        sys.stdout.flush()
        stop.wait()
        server.shutdown()
        thread.join()
    return 0


def _root_token(file: Path | None) -> str | None:
    """The token in the file, or None when there is no file or nothing in it."""
    if file is None or not file.exists():
        return None
    return file.read_text("utf-8").strip() or None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m softman.standalone.vault_standin",
        description="A stand-in for the HTTP API of Vault/OpenBao on 127.0.0.1, for development. It protects nothing.",
    )
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--state", type=Path, help="file that keeps everything over a restart")
    parser.add_argument("--root-token-file", type=Path, help="read the root token from here, or write a new one")
    parser.add_argument("--unseal-key-file", type=Path, help="write the unseal key here")
    parser.add_argument("--ready-file", type=Path, help="write the ready line here too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
