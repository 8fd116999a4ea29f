"""Signs of life of this host's processes: a file each, touched while all is well, for whoever manages services."""

import time
from pathlib import Path

FOLDER = "alive"
"""Below the state directory."""
STALE_SECONDS = 60.0
"""So old a sign may be: processes give one every few seconds, and a busy host is slow."""


def give_sign(state_dir: Path, name: str) -> None:
    """Say that the process called ``name`` is well. Never raises: a full disk must not end it."""
    try:
        folder = state_dir / FOLDER
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        (folder / name).touch()
    except OSError:
        return


def age_of_sign(state_dir: Path, name: str) -> float | None:
    """Seconds since the last sign; None when there never was one."""
    try:
        return max(0.0, time.time() - (state_dir / FOLDER / name).stat().st_mtime)
    except OSError:
        return None
