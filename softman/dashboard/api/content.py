"""What a repository shows, in the API: directories, entries, revisions, differences, keys."""

from enum import Enum
from typing import Annotated

from fastapi import Query, Request, Response
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from softman.dashboard.api.answers import OF_CONTENT, After, Limit, going_on, json_answer, listed, page_of
from softman.dashboard.api.names import to_path, to_text
from softman.dashboard.api.repositories import Named
from softman.dashboard.api.routing import router
from softman.dashboard.api.schemas import Change, Diff, Directory, Entry, Listing, Revision
from softman.dashboard.depends import TheDesk, Who
from softman.errors import InvalidInput, NotFound

_TAGS: list[str | Enum] = ["content"]

_Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
RevisionNumber = Annotated[_Number | SkipJsonSchema[None], Query(description="Another one than the current.")]
PathQuery = Annotated[
    str,
    Query(
        max_length=12_500,
        description="Absolute path, as answers write it: bytes that are no UTF-8, control bytes and % percent-encoded.",
        examples=["/bin"],
    ),
]


def _place(path: str) -> bytes:
    """The bytes of a path that somebody asks for.

    Raises:
        NotFound: nothing can be there.
    """
    try:
        return to_path(path)
    except InvalidInput as exc:
        raise NotFound(str(exc)) from exc


@router.get("/repositories/{name}/tree", tags=_TAGS, response_model=Directory, responses=OF_CONTENT)
def list_directory(
    *,
    request: Request,
    name: Named,
    who: Who,
    desk: TheDesk,
    path: PathQuery = "/",
    after: After = None,
    limit: Limit = 200,
    revision: RevisionNumber = None,
) -> Response:
    """A directory, by name, as of the current or an earlier revision."""
    start = b"" if after is None else going_on(to_path, f"/{after}")[1:]
    found = desk.browse(who, name, _place(path), after=start, limit=limit, revision=revision)
    return listed(
        request,
        Directory(
            items=[Entry.of(item) for item in found.items],
            next=None if found.after is None else to_text(found.after),
            directory=Entry.of(found.directory),
            revision=found.revision,
            published_at=found.published_at,
        ),
    )


@router.get("/repositories/{name}/entry", tags=_TAGS, response_model=Entry, responses=OF_CONTENT)
def show_entry(name: Named, who: Who, desk: TheDesk, path: PathQuery, revision: RevisionNumber = None) -> Response:
    """One file, directory or symbolic link."""
    return json_answer(Entry.of(desk.entry(who, name, _place(path), revision)))


@router.get("/repositories/{name}/revisions", tags=_TAGS, response_model=Listing[Revision], responses=OF_CONTENT)
def list_revisions(
    *, request: Request, name: Named, who: Who, desk: TheDesk, after: After = None, limit: Limit = 20
) -> Response:
    """The revisions that can still be looked at, newest first."""
    return listed(
        request,
        page_of(going_on(lambda start: desk.revisions(who, name, start or None, limit), after or ""), Revision.of),
    )


@router.get("/repositories/{name}/diff", tags=_TAGS, response_model=Diff, responses=OF_CONTENT)
def show_diff(
    *,
    request: Request,
    name: Named,
    who: Who,
    desk: TheDesk,
    old: Annotated[_Number, Query(description="A revision.")],
    new: Annotated[_Number, Query(description="Another one.")],
    after: After = None,
    limit: Limit = 200,
) -> Response:
    """What changed from one revision to another, in the order of a walk."""
    found = desk.diff(who, name, old, new, after=None if after is None else going_on(to_path, after), limit=limit)
    return listed(
        request,
        Diff(
            items=[Change.of(change) for change in found.changes],
            next=None if found.after is None else to_text(found.after) or "/",
            old=found.old,
            new=found.new,
        ),
    )


@router.get(
    "/repositories/{name}/public-key",
    tags=_TAGS,
    response_class=Response,
    responses={
        **OF_CONTENT,
        200: {
            "description": "The key, PEM: the file `/etc/cvmfs/keys/<domain>/<repository>.pub` of clients.",
            "content": {"application/x-pem-file": {"schema": {"type": "string"}}},
        },
    },
)
def download_public_key(
    name: Named,
    who: Who,
    desk: TheDesk,
    following: Annotated[
        bool, Query(alias="next", description="The one that is announced, to be taken besides the present.")
    ] = False,
) -> Response:
    """The public key with which clients mount the repository."""
    keys = desk.public_key(who, name)
    if following and len(keys) == 1:
        msg = f"no other public key is announced for {name}"
        raise NotFound(msg)
    disposition = f'attachment; filename="{name}.pub"'
    key = keys[1 if following else 0]
    return Response(key, headers={"Content-Disposition": disposition}, media_type="application/x-pem-file")
