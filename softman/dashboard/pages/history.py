"""The past of a repository: versions, what changed between two, and going back."""

import os
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from softman.dashboard import text
from softman.dashboard.depends import Who
from softman.dashboard.desk_views import Revision
from softman.dashboard.pages.frame import BASE, Named, TheDesk, after_wish, bytes_asked, home_of, repository_page
from softman.names import RepositoryName
from softman.services.browsing import Change

router = APIRouter(include_in_schema=False)
PAGE = 20
CHANGES = 200
PREVIEW = 50
"""Changes that the question before a roll-back shows."""
Number = Annotated[int, Query(ge=0)]
_WHAT = {"added": ("added", "plus"), "removed": ("removed", "minus"), "changed": ("changed", "tilde")}
_ASPECTS = {"content": "content", "mode": "permissions", "mtime": "time", "target": "where it leads", "type": "kind"}


@dataclass(frozen=True, slots=True)
class VersionView:
    """A version in words."""

    number: int
    at: float
    is_current: bool
    tags: tuple[str, ...]
    added: int
    changed: int
    removed: int
    is_known: bool
    """Whether it is known what made it."""
    files: str
    changes: str


@dataclass(frozen=True, slots=True)
class ChangeView:
    """One difference in words."""

    what: str
    class_: str
    path: str
    detail: str
    before: str
    after: str


def version_view(name: RepositoryName, found: Revision) -> VersionView:
    """A version in words."""
    home, sync = home_of(name), found.sync
    before = found.number - 1
    return VersionView(
        number=found.number,
        at=found.published_at,
        is_current=found.current,
        tags=found.tags,
        added=sync.added if sync else 0,
        changed=sync.changed if sync else 0,
        removed=sync.removed if sync else 0,
        is_known=sync is not None,
        files=f"{home}/files" if found.current else f"{home}/files?revision={found.number}",
        changes=f"{home}/history/changes?old={before}&new={found.number}" if before > 0 else "",
    )


def change_view(found: Change) -> ChangeView:
    """A difference in words."""
    what, class_ = _WHAT[found.change]
    return ChangeView(
        what,
        class_,
        os.fsdecode(found.path),
        ", ".join(_ASPECTS.get(each, each) for each in found.what if each != "source"),
        "" if found.old_size is None else text.size(found.old_size),
        "" if found.new_size is None else text.size(found.new_size),
    )


@router.get(BASE + "/history")
def history(
    request: Request, who: Who, desk: TheDesk, name: Named, after: Annotated[str | None, Query(max_length=200)] = None
) -> Response:
    """The versions, newest first."""
    found = desk.repository(who, name)
    past = desk.revisions(who, name, after, PAGE)
    here = f"{home_of(name)}/history"
    return repository_page(
        request,
        who,
        found,
        "history",
        "repository/history.html",
        missing=past.missing,
        revisions=[version_view(name, each) for each in past.items],
        back=here if after else "",
        next=f"{here}?after={text.query(past.after)}" if past.after else "",
    )


@router.get(BASE + "/history/changes")
def changes(request: Request, who: Who, desk: TheDesk, name: Named, *, old: Number, new: Number) -> Response:
    """What changed from one version to another."""
    found = desk.repository(who, name)
    after = bytes_asked(request, "after")
    differing = desk.diff(who, name, old, new, after=after, limit=CHANGES)
    here = f"{home_of(name)}/history/changes?old={old}&new={new}"
    return repository_page(
        request,
        who,
        found,
        "history",
        "repository/changes.html",
        old=old,
        new=new,
        changes=[change_view(each) for each in differing.changes],
        can_go_back=old != found.revision,
        back=here if after is not None else "",
        next=f"{here}&after={text.query(os.fsdecode(differing.after))}" if differing.after else "",
    )


@router.get(BASE + "/history/{number}/roll-back")
def ask_roll_back(
    request: Request, who: Who, desk: TheDesk, name: Named, number: Annotated[int, Path(ge=0)]
) -> Response:
    """What going back to a version would do, and the button that does it."""
    found = desk.repository(who, name)
    differing = desk.diff(who, name, found.revision, number, limit=PREVIEW) if found.revision is not None else None
    return repository_page(
        request,
        who,
        found,
        "history",
        "repository/roll_back.html",
        number=number,
        changes=[change_view(each) for each in differing.changes] if differing else None,
        more=bool(differing and differing.after),
    )


@router.post(BASE + "/history/{number}/roll-back")
def roll_back(who: Who, desk: TheDesk, name: Named, number: Annotated[int, Path(ge=0)]) -> Response:
    """Go back to a version."""
    return after_wish(f"{home_of(name)}/history", "rolled-back", desk.roll_back(who, name, number))


@router.post(BASE + "/resume")
def resume(who: Who, desk: TheDesk, name: Named) -> Response:
    """Publish what the bucket says again, after going back."""
    return after_wish(home_of(name), "resumed", desk.resume(who, name))
