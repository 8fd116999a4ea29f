"""The Debian packages of the embedded stack: which are missing, and how to install them.

The packages' post-install scripts would start their services on the standard ports; a ``policy-rc.d`` that exits with
101 ("action forbidden", invoke-rc.d(8)) prevents that. It is put there only when there is none, and taken away after.
"""

import os
import shlex
import subprocess
import sys

from softman.errors import NotFound, ServiceUnavailable
from softman.standalone.process import base_environment, find_program
from softman.standalone.rabbitmq import SERVER_SCRIPT

_PROGRAMS = {
    "ceph-mon": ("ceph-mon", "monmaptool"),
    "ceph-osd": ("ceph-osd",),
    "radosgw": ("radosgw",),
    "ceph-common": ("ceph", "radosgw-admin"),
    "redis-server": ("redis-server",),
    "nginx-light": ("nginx",),
}
_BROWSER = ("chromium", "fonts-liberation")
"""What tests of the dashboard look at it with; the stack itself needs no browser."""
_INSTALL = ("apt-get", "install", "-y", "--no-install-recommends")
_SHOWN_LINES = 30
_SCRIPT = """\
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\\nexit 101\\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
if ! apt-get install -y --no-install-recommends "$@"; then
    apt-get update
    apt-get install -y --no-install-recommends "$@"
fi
"""


def missing_packages(*, browser: bool = False) -> list[str]:
    """The Debian packages whose programs are not installed, in the order of installation.

    Args:
        browser: also those of the browser of tests.
    """
    missing = [package for package, programs in _PROGRAMS.items() if not all(map(find_program, programs))]
    if not SERVER_SCRIPT.exists() or find_program("epmd") is None:
        missing.append("rabbitmq-server")
    if browser and find_program("chromium") is None:
        missing += _BROWSER
    return missing


def install_command(packages: list[str]) -> str:
    """The one command an administrator types to install ``packages``."""
    prefix = () if os.geteuid() == 0 else ("sudo",)
    return shlex.join([*prefix, *_INSTALL, *packages])


def ensure_packages(*, install: bool, browser: bool = False) -> list[str]:
    """Make sure that the servers are installed.

    Args:
        install: install what is missing, as root or through sudo (which may ask for a password on a terminal).
        browser: also the browser of tests.

    Returns:
        The packages that were installed now.

    Raises:
        NotFound: packages are missing and may not be installed; the message has the command that installs them.
        ServiceUnavailable: the installation failed; the end of apt's messages went to standard error.
    """
    missing = missing_packages(browser=browser)
    if not missing:
        return []
    command = install_command(missing)
    if not install:
        msg = f"these Debian packages are missing: {' '.join(missing)}; install them with: {command}"
        raise NotFound(msg)
    if find_program("apt-get") is None:
        msg = f"there is no apt-get here; install what these Debian packages bring: {' '.join(missing)}"
        raise NotFound(msg)
    done = subprocess.run(
        [*_as_root(command), "sh", "-c", _SCRIPT, "sh", *missing],
        env=base_environment() | _proxies(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    still = missing_packages(browser=browser)
    if done.returncode or still:
        sys.stderr.write("\n".join(done.stdout.splitlines()[-_SHOWN_LINES:]) + "\n")
        msg = f"the installation failed (status {done.returncode}); still missing: {' '.join(still)}; try: {command}"
        raise ServiceUnavailable(msg)
    return missing


def _as_root(command: str) -> list[str]:
    if os.geteuid() == 0:
        return []
    sudo = find_program("sudo")
    if sudo is None:
        msg = f"only root can install Debian packages, and sudo is missing; as root: {command.removeprefix('sudo ')}"
        raise NotFound(msg)
    return [sudo] if sys.stdin is not None and sys.stdin.isatty() else [sudo, "-n"]


def _proxies() -> dict[str, str]:
    return {name: os.environ[name] for name in ("http_proxy", "https_proxy", "no_proxy") if name in os.environ}


def main(arguments: list[str]) -> int:
    """``python -m softman.standalone.packages [--install]``: what the set-up of a clone calls.

    Returns:
        0 when everything is installed then, 1 when not, with the reason on standard error; 2 for other arguments.
    """
    if set(arguments) - {"--install"}:
        return 2
    if "--install" in arguments and (missing := missing_packages(browser=True)):
        print(f"setup: installing Debian packages: {' '.join(missing)}", file=sys.stderr)  # noqa: T201 - a program of its own
    try:
        ensure_packages(install="--install" in arguments, browser="--install" in arguments)
    except (NotFound, ServiceUnavailable) as exc:
        print(f"setup: {exc}", file=sys.stderr)  # noqa: T201 - a program of its own
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
