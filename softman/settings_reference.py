"""What settings there are, for people: names, variables, defaults and meanings, from the models themselves."""

import ast
import inspect
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from softman.settings import Settings

MASK = "********"


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One setting.

    Attributes:
        name: with its sections, as in the TOML file: ``s3.endpoint``.
        variable: the environment variable.
        default: as text; empty for none.
        meaning: what it is, in words; empty where the name says all.
        value: its present value as text, secrets masked.
        changed: whether that is another than the default.
    """

    name: str
    variable: str
    default: str
    meaning: str
    value: str
    changed: bool


@dataclass(frozen=True, slots=True)
class SectionInfo:
    """A section: its name (empty for the settings outside of any), its meaning, and its own settings."""

    name: str
    meaning: str
    settings: tuple[SettingInfo, ...]


def sections(settings: Settings) -> Iterator[SectionInfo]:
    """Every setting with its value, by section, in the order of the models."""
    yield from _sections(settings, ())


def _sections(model: BaseModel, path: tuple[str, ...]) -> Iterator[SectionInfo]:
    kind = type(model)
    meanings = _meanings(kind)
    own, inner = [], []
    for field, info in kind.model_fields.items():
        value = getattr(model, field)
        if isinstance(value, BaseModel):
            inner.append((value, (*path, field)))
        else:
            own.append(_setting((*path, field), info, value, meanings.get(field, "")))
    yield SectionInfo(".".join(path), _first_sentence(inspect.getdoc(kind) or "") if path else "", tuple(own))
    for value, where in inner:
        yield from _sections(value, where)


def _setting(path: tuple[str, ...], info: FieldInfo, value: Any, meaning: str) -> SettingInfo:
    default = info.get_default(call_default_factory=True, validated_data={})
    return SettingInfo(
        name=".".join(path),
        variable="SOFTMAN_" + "__".join(path).upper(),
        default=as_text(default),
        meaning=" ".join(part for part in (meaning, _choices(info)) if part),
        value=as_text(value),
        changed=value != default,
    )


def _choices(info: FieldInfo) -> str:
    choices = [each for each in get_args(info.annotation) if isinstance(each, str)]
    return f"One of {', '.join(choices)}." if choices else ""


def as_text(value: Any) -> str:
    """A value for people: a secret is masked, and so is the password in a secret address."""
    if isinstance(value, SecretStr):
        return _masked(value.get_secret_value())
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list | frozenset):
        return ", ".join(map(as_text, value))
    return str(value)


def _masked(secret: str) -> str:
    if not secret:
        return ""
    parts = urlsplit(secret)
    if not parts.scheme or not parts.hostname or "," in secret or ";" in secret:
        return MASK
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    login = f"{parts.username or ''}:{MASK}@" if parts.password else ""
    return f"{parts.scheme}://{login}{host}{port}{parts.path}"


@cache
def _meanings(kind: type[BaseModel]) -> dict[str, str]:
    """The strings below the fields of a class, and of those it is derived from."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if issubclass(each, BaseModel) and each.__module__.startswith("softman."):
            found |= _strings_below(each)
    return found


def _strings_below(kind: type) -> dict[str, str]:
    tree = ast.parse(Path(str(sys.modules[kind.__module__].__file__)).read_text("utf-8"))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    return {
        field.target.id: inspect.cleandoc(text.value.value).replace("\n", " ")
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


def _first_sentence(text: str) -> str:
    return text.partition("\n\n")[0].replace("\n", " ")


_HEAD = """\
# Settings

<!-- Written by "softman config reference"; a test holds that it is what the settings say. -->

From `SOFTMAN_*` variables and from the TOML file that `SOFTMAN_CONFIG` names; a variable wins. Sections are tables in
the file, and separated by two underscores in variables: `[s3] endpoint = ...` is `SOFTMAN_S3__ENDPOINT`. Lists are JSON
in variables. Times are in seconds, sizes in bytes, unless the name says otherwise. What is not known is refused.

`softman config check` says whether the present settings are right, `softman config show` what they are, secrets masked.
"""


def reference() -> str:
    """The page ``docs/configuration.md``."""
    pages = [_HEAD]
    for section in sections(Settings()):
        heading = f"## `{section.name}`" if section.name else "## Outside of any section"
        lines = [heading, "", *([section.meaning, ""] if section.meaning else [])]
        lines += ["| setting | default | meaning |", "|---|---|---|"]
        for each in section.settings:
            default = f"`{each.default}`" if each.default else ""
            name = each.name.rpartition(".")[2]
            lines.append(f"| `{name}` | {default} | {each.meaning.replace('``', '`').replace('|', '/')} |")
        if section.settings:
            pages.append("\n".join(lines) + "\n")
    return "\n".join(pages)
