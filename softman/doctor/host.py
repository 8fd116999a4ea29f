"""This host: folders, free disk, and files with secrets that others could read."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from softman.doctor.finding import Finding, broken, fine, warning
from softman.settings import Settings, VaultCredential

AREA = "host"
SCARCE_BYTES = 5 * 1024**3
"""With less free than this, or a twentieth of the disk if that is less, it is a warning."""
FULL_BYTES = 200 * 1024**2
SCARCE_FILES = 0.05
"""The share of inodes below which it is a warning."""


def check_host(settings: Settings) -> Iterator[Finding]:
    """Look at the state directory, a repository storage in a folder, and files with secrets."""
    yield from _folder(settings.state_dir, "the state directory", "SOFTMAN_STATE_DIR")
    storage = storage_folder(settings)
    if storage is not None and settings.vault.stratum0.role_id:
        yield from _folder(storage, "the storage of repositories", "SOFTMAN_CVMFS__STORAGE")
    yield from _secrets(settings)
    for name, where in settings.in_plain_text.items():
        yield warning(
            AREA, f"{name} leads to {where} in plain text", "use TLS, then take it out of tls.allow_plaintext"
        )


def storage_folder(settings: Settings) -> Path | None:
    """The folder that holds the repositories; None when an object store does."""
    parts = urlsplit(settings.cvmfs.storage)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _folder(path: Path, what: str, setting: str) -> Iterator[Finding]:
    if not path.is_dir():
        yield broken(AREA, f"{what} {path} does not exist", f"make it for this user, or correct {setting}")
        return
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        user = f"the user with id {os.getuid()}"
        yield broken(AREA, f"{what} {path} cannot be written by {user}", f"chown it, or run as its owner ({setting})")
        return
    yield _space(path, what)
    yield _inodes(path, what)


def _space(path: Path, what: str) -> Finding:
    disk = os.statvfs(path)
    free, whole = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    text = f"{what} {path} has {free / 1024**3:.1f} GiB free of {whole / 1024**3:.1f}"
    repair = "make room: softman gc drops what no revision needs; or move it to a larger disk"
    if free < min(FULL_BYTES, whole / 50):
        return broken(AREA, text, repair)
    if free < min(SCARCE_BYTES, whole / 20):
        return warning(AREA, text, repair)
    return fine(AREA, text)


def _inodes(path: Path, what: str) -> Finding:
    disk = os.statvfs(path)
    if not disk.f_files or disk.f_favail >= disk.f_files * SCARCE_FILES:
        return fine(AREA, f"{what} has room for more files")
    text = f"{what} {path} has {disk.f_favail:,} inodes left of {disk.f_files:,}"
    return warning(AREA, text, "remove small files there, or make its file system anew with more inodes")


def _secrets(settings: Settings) -> Iterator[Finding]:
    vault = settings.vault
    credentials: tuple[VaultCredential, ...] = (vault.stratum0, vault.publisher, vault.dashboard, vault.admin)
    files = {file for each in credentials for file in (each.secret_id_file, each.secret_id_wrapped_file) if file}
    for file in sorted(files):
        try:
            mode = file.stat().st_mode
        except OSError as exc:
            yield broken(
                AREA, f"the secret file {file} cannot be read: {exc.strerror}", "correct the path or its rights"
            )
            continue
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield broken(AREA, f"the secret file {file} is open to others", f"chmod 600 {file}, and replace the secret")
        else:
            yield fine(AREA, f"the secret file {file} is private")
