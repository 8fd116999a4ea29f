"""A repository's keys in a directory, under the names that ``cvmfs_server`` gives them, so that either can use them."""

import errno
import glob
import json
import os
import secrets
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.keys import GatewayKey, RepositoryKeys, generate_gateway_key, generate_keys
from softman.cvmfs.format.names import check_repository_name
from softman.errors import InvalidInput, NotFound

_MAX_KEY = 1024 * 1024
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SECRET, _PUBLIC = 0o600, 0o444
_MODES = {".masterkey": _SECRET, ".pub": _PUBLIC, ".key": _SECRET, ".crt": _PUBLIC, ".gw": _SECRET}


class KeyFiles:
    """The keys of repository ``name`` in ``directory``.

    Args:
        directory: where the files are, or will be.
        name: the fully qualified name.
        master_key: a file elsewhere with the master key, such as one that all repositories of a domain share.
    """

    def __init__(self, directory: Path, name: str, *, master_key: Path | None = None) -> None:
        self._directory = directory
        self._name = check_repository_name(name)
        self._master_key = master_key

    def make(self, now: datetime) -> RepositoryKeys:
        """Make the keys, or find that they are there, or complete them. A master key from elsewhere is not copied.

        Args:
            now: when the certificate's validity begins.

        Raises:
            InvalidInput: some of the files are there and some are not.
            FormatError: the keys that are there do not belong together.
            OSError: the directory cannot be written.
        """
        wanted = [suffix for suffix in _MODES if suffix != ".masterkey" or self._master_key is None]
        if not any(self.path(suffix).exists() for suffix in wanted) and not self._begun.exists():
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._begin(self._generate(now), generate_gateway_key(), wanted)
        if self._begun.exists():
            self._finish()
        there = [suffix for suffix in wanted if self.path(suffix).exists()]
        if there != wanted:
            missing = ", ".join(self.path(suffix).name for suffix in wanted if suffix not in there)
            msg = f"{self._directory} has some of the keys of {self._name}, but not {missing}"
            raise InvalidInput(msg)
        keys = self.load(with_master=True)
        keys.check()
        return keys

    def load(self, *, with_master: bool = False) -> RepositoryKeys:
        """Read the keys that sign a repository.

        Args:
            with_master: the master key is needed, too; else its place is left empty.

        Raises:
            NotFound: a file is missing.
            FormatError: a file is too large to be a key.
        """
        master = self._master_key or self.path(".masterkey")
        return RepositoryKeys(
            master_key=_read(master) if with_master else b"",
            public_key=_read(self.path(".pub")),
            private_key=_read(self.path(".key")),
            certificate=_read(self.path(".crt")),
        )

    def path(self, suffix: str) -> Path:
        """The file of one key."""
        return self._directory / f"{self._name}{suffix}"

    def _generate(self, now: datetime) -> RepositoryKeys:
        shared = None if self._master_key is None else _read(self._master_key)
        return generate_keys(self._name, now, master_key=shared)

    @property
    def _begun(self) -> Path:
        """All that is to be written, as long as it is not: whoever comes after a crash goes on with it."""
        return self.path("").with_name(f".{self._name}.keys")

    def _begin(self, keys: RepositoryKeys, gateway: GatewayKey, suffixes: list[str]) -> None:
        contents = {
            ".masterkey": keys.master_key,
            ".pub": keys.public_key,
            ".key": keys.private_key,
            ".crt": keys.certificate,
            ".gw": gateway.to_text().encode(),
        }
        text = json.dumps({suffix: contents[suffix].decode() for suffix in suffixes})
        _write_new(self._begun, text.encode(), _SECRET)

    def _finish(self) -> None:
        contents = {self.path(suffix): text.encode() for suffix, text in json.loads(_read(self._begun)).items()}
        try:
            for path, content in contents.items():
                if not path.exists():
                    _write_new(path, content, _MODES[path.suffix])
        except BaseException:  # all or none
            for path, content in contents.items():
                if path.exists() and _read(path) == content:
                    path.unlink()
            self._begun.unlink()
            raise
        self._begun.unlink()
        for temporary in self._directory.glob(f".{glob.escape(self._name)}.*-{'[0-9a-f]' * 16}"):
            temporary.unlink()


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that appears whole, and never in place of another."""
    temporary = path.with_name(f".{path.name.lstrip('.')}-{secrets.token_hex(8)}")
    descriptor = os.open(temporary, _CREATE, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        path.hardlink_to(temporary)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_KEY + 1)
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            raise NotFound(f"there is no key file {path}") from exc
        raise
    if len(content) > _MAX_KEY:
        raise FormatError(f"{path} is too large to be a key")
    return content
