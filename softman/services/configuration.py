"""What an owner says about their repository: the object ``cvmfs/.softman.toml``, read strictly. Pure.

The format is described in ``docs/sync.md``. Patterns are those of gitignore, matched by RE2: none of them can make
matching slow.
"""

import hashlib
import re
import tomllib
from dataclasses import dataclass, field
from typing import Annotated, Final

import pathspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from softman.errors import InvalidInput
from softman.model import MAX_CONFIGURATION, PUBLISHED_PREFIX

CONFIGURATION_KEY: Final = PUBLISHED_PREFIX + ".softman.toml"
MAX_PATTERNS: Final = 1000
MAX_CATALOG_DEPTH: Final = 4
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MODE = r"^0?[0-7]{3}$"

_Pattern = Annotated[str, Field(min_length=1, max_length=1024)]
_Patterns = Annotated[list[_Pattern], Field(max_length=MAX_PATTERNS)]
_Mode = Annotated[str, Field(pattern=_MODE)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Unpack(_Table):
    enabled: bool | None = None
    below: Annotated[list[_Pattern], Field(max_length=100)] | None = None
    keep: _Patterns = []


class _Modes(_Table):
    file: _Mode = "0644"
    executable: _Mode = "0755"
    directory: _Mode = "0755"


class _Catalogs(_Table):
    depth: Annotated[int, Field(ge=0, le=MAX_CATALOG_DEPTH)] = 0


class _Document(_Table):
    ignore: _Patterns = []
    unpack: _Unpack = _Unpack()
    modes: _Modes = _Modes()
    catalogs: _Catalogs = _Catalogs()


@dataclass(frozen=True, slots=True)
class Modes:
    """Permissions where the object's metadata say nothing."""

    file: int = 0o644
    executable: int = 0o755
    directory: int = 0o755


@dataclass(frozen=True, slots=True)
class Configuration:
    """What an owner wants; made by ``parse_configuration``. The default is that of a bucket without the object."""

    text: str = ""
    """What it was read from."""
    ignore: pathspec.GitIgnoreSpec | None = field(default=None, compare=False)
    """Keys, without ``cvmfs/``, that are not published; None for none."""
    unpack: bool | None = None
    """Whether archives are unpacked; None for what the site says."""
    unpack_below: tuple[str, ...] | None = None
    """Archives are unpacked in these folders only (keys without ``cvmfs/``); None for what the site says."""
    keep: pathspec.GitIgnoreSpec | None = field(default=None, compare=False)
    """Archives that stay files."""
    modes: Modes = Modes()
    catalog_depth: int = 0
    """Directories down to this depth get a catalog of their own."""


def parse_configuration(content: bytes) -> Configuration:
    """Read the object.

    Raises:
        InvalidInput: it is too large, no TOML, or has a field or value that is not known. The message is for the owner.
    """
    if len(content) > MAX_CONFIGURATION:
        msg = f"it has {len(content)} bytes; {MAX_CONFIGURATION} are possible"
        raise InvalidInput(msg)
    try:
        text = content.decode()
        document = _Document.model_validate(tomllib.loads(text))
        below = document.unpack.below
        return Configuration(
            text=text,
            ignore=_spec(document.ignore, "ignore"),
            unpack=document.unpack.enabled,
            unpack_below=None if below is None else tuple(map(as_folder, below)),
            keep=_spec(document.unpack.keep, "unpack.keep"),
            modes=Modes(*(int(mode, 8) for _, mode in document.modes)),
            catalog_depth=document.catalogs.depth,
        )
    except ValidationError as exc:
        msg = "; ".join(f"{_place(error['loc'])}: {error['msg']}" for error in exc.errors(include_input=False)[:5])
        raise InvalidInput(msg) from None
    except (ValueError, RecursionError) as exc:  # UTF-8, TOML
        msg = f"it is no TOML file: {exc}"
        raise InvalidInput(msg) from None


def fingerprint(text: str) -> str:
    """A short name of a configuration's text, empty for none: it tells whether a repository follows it already."""
    return hashlib.sha256(text.encode()).hexdigest()[:32] if text else ""


def _spec(patterns: list[str], where: str) -> pathspec.GitIgnoreSpec | None:
    if not patterns:
        return None
    for pattern in patterns:
        if _CONTROL.search(pattern):
            msg = f"{where}: {pattern[:80]!r} has control characters"
            raise InvalidInput(msg)
    try:
        return pathspec.GitIgnoreSpec.from_lines(patterns, backend="re2")
    except Exception as exc:  # noqa: BLE001 - RE2's error is no public class; the pattern is to blame in any case
        msg = f"{where}: {str(exc)[:200]}"
        raise InvalidInput(msg) from None


def as_folder(text: str) -> str:
    """A folder as the beginning of keys: with a slash at its end; the whole repository is the empty text."""
    name = text.strip("/")
    return f"{name}/" if name else ""


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "the file"
