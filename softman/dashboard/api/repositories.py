"""Repositories in the API: which there are, how they stand, and what is wished for them."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Path, Request, Response

from softman.dashboard.api.answers import (
    OF_REPOSITORY,
    OF_WISHES,
    After,
    Limit,
    json_answer,
    listed,
    page_of,
    problems,
    whole,
)
from softman.dashboard.api.idempotency import IsOnce, Once
from softman.dashboard.api.routing import router
from softman.dashboard.api.schemas import (
    Listing,
    Pending,
    Receipt,
    Refusal,
    Repository,
    RepositoryRequest,
    Requestable,
    Resync,
    Retire,
    Rollback,
    Sync,
)
from softman.dashboard.depends import TheDesk, Who
from softman.dashboard.desk_views import Receipt as Taken
from softman.errors import InvalidInput
from softman.names import RepositoryName
from softman.services.authority import unknown

_ACCEPTED = HTTPStatus.ACCEPTED


def named(
    name: Annotated[
        str, Path(max_length=80, description="Of the repository, with its domain.", examples=["alice.example.org"])
    ],
) -> RepositoryName:
    """The repository that a path names.

    Raises:
        NotFound: no repository can be called so.
    """
    try:
        return RepositoryName.parse(name)
    except InvalidInput as exc:
        raise unknown(name) from exc


Named = Annotated[RepositoryName, Depends(named)]


@router.get("/repositories", response_model=Listing[Repository], responses=problems(), tags=["repositories"])
def list_repositories(request: Request, who: Who, desk: TheDesk) -> Response:
    """Your repositories and those of your groups."""
    return listed(request, page_of(desk.repositories(who), Repository.of))


@router.get("/requestable", response_model=Listing[Requestable], responses=problems(), tags=["repositories"])
def list_requestable(request: Request, who: Who, desk: TheDesk) -> Response:
    """What you may ask for: your own repository, and those of your groups."""
    return listed(request, whole(desk.requestable(who), Requestable.of))


@router.post(
    "/repositories",
    response_model=Receipt,
    status_code=_ACCEPTED,
    responses=problems(HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
    tags=["repositories"],
)
def request_repository(wanted: RepositoryRequest, who: Who, desk: TheDesk, once: IsOnce) -> Response:
    """Ask for your own repository, or for that of a group you are in.

    Asking again gives the same repository, and completes what was left half done.
    """
    return _taken(once, lambda: desk.request(who, wanted.kind, wanted.group))


@router.get("/repositories/{name}", response_model=Repository, responses=OF_REPOSITORY, tags=["repositories"])
def show_repository(name: Named, who: Who, desk: TheDesk) -> Response:
    """How a repository stands, with the links of its provisioning chain and the sync under way."""
    return json_answer(Repository.of(desk.repository(who, name)))


@router.get("/repositories/{name}/syncs", response_model=Listing[Sync], responses=OF_REPOSITORY, tags=["activity"])
def list_syncs(request: Request, name: Named, who: Who, desk: TheDesk) -> Response:
    """The last syncs, newest first."""
    return listed(request, page_of(desk.syncs(who, name), Sync.of))


@router.get("/repositories/{name}/pending", response_model=Pending, responses=OF_REPOSITORY, tags=["activity"])
def show_pending(name: Named, who: Who, desk: TheDesk, limit: Limit = 100) -> Response:
    """What is to be published yet, and the sync under way."""
    return json_answer(Pending.of(desk.pending(who, name, limit)))


@router.get(
    "/repositories/{name}/refusals", response_model=Listing[Refusal], responses=OF_REPOSITORY, tags=["activity"]
)
def list_refusals(
    *, request: Request, name: Named, who: Who, desk: TheDesk, after: After = None, limit: Limit = 100
) -> Response:
    """Keys of the bucket that are not published, and why, by key."""
    return listed(request, page_of(desk.refusals(who, name, after, limit), Refusal.of))


@router.post(
    "/repositories/{name}/resync",
    response_model=Receipt,
    status_code=_ACCEPTED,
    responses=OF_WISHES,
    tags=["activity"],
)
def resync(name: Named, wanted: Resync, who: Who, desk: TheDesk, once: IsOnce) -> Response:
    """Compare the repository with its bucket, now."""
    return _taken(once, lambda: desk.resync(who, name, wanted.prefix, verify=wanted.verify))


@router.post(
    "/repositories/{name}/rollback", response_model=Receipt, status_code=_ACCEPTED, responses=OF_WISHES, tags=["life"]
)
def roll_back(name: Named, wanted: Rollback, who: Who, desk: TheDesk, once: IsOnce) -> Response:
    """Show an earlier revision again.

    What is in the bucket is not published from then on, until `resume` is asked for.
    """
    return _taken(once, lambda: desk.roll_back(who, name, wanted.revision))


@router.post(
    "/repositories/{name}/resume", response_model=Receipt, status_code=_ACCEPTED, responses=OF_WISHES, tags=["life"]
)
def resume(name: Named, who: Who, desk: TheDesk, once: IsOnce) -> Response:
    """End the pause after a roll-back: what is in the bucket is published again."""
    return _taken(once, lambda: desk.resume(who, name))


@router.post(
    "/repositories/{name}/retire", response_model=Receipt, status_code=_ACCEPTED, responses=OF_WISHES, tags=["life"]
)
def retire(name: Named, wanted: Retire, who: Who, desk: TheDesk, once: IsOnce) -> Response:
    """Give a repository up. For some days it can be restored; its name is not given away."""
    return _taken(once, lambda: desk.retire(who, name, keep_content=wanted.keep_content))


@router.post(
    "/repositories/{name}/restore", response_model=Receipt, status_code=_ACCEPTED, responses=OF_WISHES, tags=["life"]
)
def restore(name: Named, who: Who, desk: TheDesk, once: IsOnce) -> Response:
    """Take a retirement back."""
    return _taken(once, lambda: desk.restore(who, name))


def _taken(once: Once, wish: Callable[[], Taken]) -> Response:
    return once.answer(lambda: Receipt.of(wish()), _ACCEPTED, {})
