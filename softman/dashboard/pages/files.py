"""The published tree: folders, files, and what is known of each."""

import os
import stat
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.convertors import PathConvertor, register_url_convertor

from softman.dashboard import text
from softman.dashboard.depends import Who
from softman.dashboard.desk import Desk
from softman.dashboard.pages.frame import BASE, Named, TheDesk, bytes_asked, home_of, path_in_address, repository_page
from softman.identity import Principal
from softman.names import RepositoryName
from softman.services.browsing import Item


class _AnyPath(PathConvertor):
    """Names in repositories may have newlines, which the framework's own paths have not."""

    regex = r"[\s\S]*"


register_url_convertor("anything", _AnyPath())
router = APIRouter(include_in_schema=False)
PAGE = 200
_KINDS = {"directory": "Folder", "file": "File", "symlink": "Symbolic link", "special": "Special file"}
_SYMBOLS = {"directory": "folder", "file": "file", "symlink": "link", "special": "settings"}
Revision = Annotated[int | None, Query(ge=0)]


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry in words. Raw bytes in names are surrogates, as ``os.fsdecode`` makes them."""

    name: str
    href: str
    symbol: str
    kind_text: str
    size: int | None
    mtime: int
    mode_text: str
    target: str | None
    content: str | None
    pieces: int


@dataclass(frozen=True, slots=True)
class Crumb:
    """A folder on the way."""

    name: str
    href: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which repository somebody looks."""

    repository: RepositoryName
    revision: int | None

    def href(self, path: bytes, *, after: bytes = b"") -> str:
        """The address of an entry's page."""
        asked = []
        if self.revision is not None:
            asked.append(f"revision={self.revision}")
        if after:
            asked.append(f"after={quote(after, safe='')}")
        return f"{home_of(self.repository)}/files{quote(path)}" + (f"?{'&'.join(asked)}" if asked else "")

    def crumbs(self, path: bytes) -> list[Crumb]:
        """The folders on the way to an entry, and itself."""
        found, here = [Crumb(self.repository.label, self.href(b""))], b""
        for part in path.split(b"/")[1:]:
            here += b"/" + part
            found.append(Crumb(os.fsdecode(part), self.href(here)))
        return found

    def entry(self, item: Item) -> EntryView:
        """An entry in words."""
        return EntryView(
            name=os.fsdecode(item.name),
            href=self.href(item.path),
            symbol=_SYMBOLS[item.kind],
            kind_text=_KINDS[item.kind],
            size=item.size if item.kind == "file" else None,
            mtime=item.mtime,
            mode_text=f"{stat.filemode(item.mode)[1:]} ({item.mode:04o})",
            target=None if item.target is None else os.fsdecode(item.target),
            content=item.content,
            pieces=item.chunks,
        )


@router.get(BASE + "/files")
@router.get(BASE + "/files/{path:anything}")
def files(request: Request, who: Who, desk: TheDesk, name: Named, revision: Revision = None) -> Response:
    """A folder, or what is known of a file."""
    path = path_in_address(request, f"/repositories/{name}/files")
    found = desk.repository(who, name)
    place = Place(name, revision)
    here = _here(place, path)
    if path:
        item = desk.entry(who, name, path, revision)
        if item.kind != "directory":
            return repository_page(
                request, who, found, "files", "repository/file.html", entry=place.entry(item), **here
            )
    folder = _folder(request, desk, who, place, path)
    return repository_page(request, who, found, "files", "repository/files.html", **folder, **here)


def _folder(request: Request, desk: Desk, who: Principal, place: Place, path: bytes) -> dict[str, Any]:
    after = bytes_asked(request, "after") or b""
    shown = desk.browse(who, place.repository, path, after=after, limit=PAGE, revision=place.revision)
    return {
        "entries": [place.entry(item) for item in shown.items],
        "after": bool(after),
        "is_root": not path,
        "back": place.href(path) if after else "",
        "next": place.href(path, after=shown.after) if shown.after else "",
        "now_href": Place(place.repository, None).href(path),
    }


def _here(place: Place, path: bytes) -> dict[str, Any]:
    return {
        "revision": place.revision,
        "crumbs": place.crumbs(path),
        "here_name": os.fsdecode(path.rpartition(b"/")[2]) or "Files",
        "mount_here": f"/cvmfs/{place.repository}{text.plain(os.fsdecode(path))}",
    }
