"""What holds for a repository: limits and rules; and its end."""

from dataclasses import dataclass
from typing import Annotated

import pathspec
from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from softman.dashboard import text
from softman.dashboard.depends import Who
from softman.dashboard.desk_views import Repository
from softman.dashboard.pages.frame import BASE, Named, TheDesk, after_wish, home_of, repository_page
from softman.errors import InvalidInput
from softman.identity import Principal
from softman.model import Quotas, Usage
from softman.services.configuration import Configuration, parse_configuration
from softman.settings import Settings

router = APIRouter(include_in_schema=False)
EXAMPLE = """\
# Not published: patterns as in .gitignore
ignore = ["*.tmp", ".git/"]

[unpack]
# Archives in these folders are unpacked, others stay files
below = ["software"]
keep = ["*.tgz"]

[modes]
# Permissions of files that bring none
file = "0644"
executable = "0755"
directory = "0755"
"""


@dataclass(frozen=True, slots=True)
class Meter:
    """How much of a limit is used."""

    label: str
    used: int
    most: int
    said: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules in force, in words."""

    own: bool
    """Whether they come from the bucket."""
    text: str
    ignore: tuple[str, ...]
    unpack: str
    below: tuple[str, ...]
    keep: tuple[str, ...]
    file_mode: str
    executable_mode: str
    directory_mode: str


def meters(usage: Usage | None, quotas: Quotas) -> list[Meter]:
    """How much of what can be counted is used; nothing when that is not known."""
    if usage is None:
        return []
    entries = f"{text.number(usage.entries)} of {text.number(quotas.max_entries)}"
    room = f"{text.size(usage.bytes)} of {text.size(quotas.max_bytes)}"
    return [
        Meter("Files and folders", usage.entries, quotas.max_entries, entries),
        Meter("Size", usage.bytes, quotas.max_bytes, room),
    ]


def rules_view(configuration: str, settings: Settings) -> Rules:
    """The rules of a repository whose last good configuration is this."""
    try:
        found = parse_configuration(configuration.encode())
    except InvalidInput:  # an older softman may not know what a newer one wrote
        found = Configuration()
    unpack, below = _unpacking(found, settings)
    return Rules(
        own=bool(found.text),
        text=found.text,
        ignore=_patterns(found.ignore),
        unpack=unpack,
        below=below,
        keep=_patterns(found.keep),
        file_mode=f"{found.modes.file:04o}",
        executable_mode=f"{found.modes.executable:04o}",
        directory_mode=f"{found.modes.directory:04o}",
    )


def _unpacking(found: Configuration, settings: Settings) -> tuple[str, tuple[str, ...]]:
    enabled = settings.sync.unpack if found.unpack is None else found.unpack
    below = settings.sync.unpack_below if found.unpack_below is None else found.unpack_below
    folders = tuple(folder for folder in (each.strip("/") for each in below) if folder)
    if not enabled:
        return "stay files", ()
    return ("are unpacked in", folders) if folders else ("are unpacked", ())


def _patterns(spec: pathspec.GitIgnoreSpec | None) -> tuple[str, ...]:
    return () if spec is None else tuple(str(each.pattern) for each in spec.patterns)


@router.get(BASE + "/settings")
def settings_page(request: Request, who: Who, desk: TheDesk, name: Named) -> Response:
    """Limits and rules in force, how to change them, and the button that retires."""
    found = desk.repository(who, name)
    broken = [each for each in desk.refusals(who, name, limit=1000).items if each.key == "cvmfs/.softman.toml"]
    quotas = found.quotas
    return repository_page(
        request,
        who,
        found,
        "settings",
        "repository/settings.html",
        meters=meters(found.usage, quotas),
        limits=[("One file", text.size(quotas.max_object_bytes)), ("One archive", text.size(quotas.max_archive_bytes))],
        rules=rules_view(found.configuration, request.app.state.settings),
        broken=broken[0].reason if broken else "",
        example=EXAMPLE,
        grace=_grace(request),
    )


@router.get(BASE + "/retire")
def ask_retire(request: Request, who: Who, desk: TheDesk, name: Named) -> Response:
    """The question before a repository is retired, for browsers without scripts."""
    return _retire_page(request, who, desk.repository(who, name), wrong=False)


@router.post(BASE + "/retire")
def retire(
    request: Request, who: Who, desk: TheDesk, name: Named, confirm: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    """Retire a repository whose name was typed."""
    if confirm.strip() != str(name):
        return _retire_page(request, who, desk.repository(who, name), wrong=True)
    return after_wish(home_of(name), "retired", desk.retire(who, name))


@router.post(BASE + "/restore")
def restore(who: Who, desk: TheDesk, name: Named) -> Response:
    """Take a retirement back."""
    return after_wish(home_of(name), "restored", desk.restore(who, name))


def _retire_page(request: Request, who: Principal, found: Repository, *, wrong: bool) -> Response:
    return repository_page(
        request, who, found, "settings", "repository/retire.html", wrong=wrong, grace=_grace(request)
    )


def _grace(request: Request) -> str:
    settings: Settings = request.app.state.settings
    return text.plural(round(settings.lifecycle.grace_days), "day")
