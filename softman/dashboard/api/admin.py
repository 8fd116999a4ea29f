"""What administrators ask of the API."""

from enum import Enum
from http import HTTPStatus
from typing import Annotated

from fastapi import Path, Request, Response

from softman.dashboard.api.admin_schemas import DeadLetter, Overview, Queue, Worker
from softman.dashboard.api.answers import (
    OF_ADMIN,
    OF_WISHES,
    After,
    Limit,
    going_on,
    json_answer,
    listed,
    page_of,
    problems,
)
from softman.dashboard.api.idempotency import IsOnce
from softman.dashboard.api.repositories import Named
from softman.dashboard.api.routing import router
from softman.dashboard.api.schemas import Listing, QuotaChange, Receipt, Repository
from softman.dashboard.depends import TheDesk, Who
from softman.names import RepositoryName

_TAGS: list[str | Enum] = ["administration"]
_OF_THINGS = OF_ADMIN | problems(HTTPStatus.NOT_FOUND)
LetterId = Annotated[str, Path(pattern="^[0-9a-f]{4,64}$", examples=["3f0a9c1d2e4b"])]


def _after(after: str | None) -> RepositoryName | None:
    return None if after is None else going_on(RepositoryName.parse, after)


@router.get("/admin/overview", tags=_TAGS, response_model=Overview, responses=OF_ADMIN)
def show_overview(who: Who, desk: TheDesk) -> Response:
    """How the service stands as a whole."""
    return json_answer(Overview.of(desk.overview(who)))


@router.get("/admin/repositories", tags=_TAGS, response_model=Listing[Repository], responses=_OF_THINGS)
def list_all_repositories(
    request: Request, who: Who, desk: TheDesk, after: After = None, limit: Limit = 50
) -> Response:
    """All repositories, by name."""
    return listed(request, page_of(desk.all_repositories(who, _after(after), limit), Repository.of))


@router.put(
    "/admin/repositories/{name}/quotas",
    tags=_TAGS,
    response_model=Receipt,
    status_code=HTTPStatus.ACCEPTED,
    responses=OF_WISHES,
)
def set_quotas(name: Named, wanted: QuotaChange, who: Who, desk: TheDesk, once: IsOnce) -> Response:
    """Set what a repository may hold."""
    quotas = wanted.model_dump(exclude_unset=True)
    return once.answer(lambda: Receipt.of(desk.set_quotas(who, name, quotas)), HTTPStatus.ACCEPTED, {})


@router.get("/admin/queues", tags=_TAGS, response_model=Listing[Queue], responses=OF_ADMIN)
def list_queues(request: Request, who: Who, desk: TheDesk) -> Response:
    """Every queue with what waits in it."""
    return listed(request, page_of(desk.queues(who), Queue.of))


@router.get("/admin/workers", tags=_TAGS, response_model=Listing[Worker], responses=OF_ADMIN)
def list_workers(request: Request, who: Who, desk: TheDesk) -> Response:
    """The workers that answer within a second."""
    return listed(request, page_of(desk.workers(who), Worker.of))


@router.get("/admin/dead-letters", tags=_TAGS, response_model=Listing[DeadLetter], responses=OF_ADMIN)
def list_dead_letters(request: Request, who: Who, desk: TheDesk) -> Response:
    """Messages that nobody could work on, the oldest first."""
    return listed(request, page_of(desk.dead_letters(who), DeadLetter.of))


@router.post("/admin/dead-letters/{letter}/requeue", tags=_TAGS, response_model=DeadLetter, responses=_OF_THINGS)
def requeue_dead_letter(letter: LetterId, who: Who, desk: TheDesk) -> Response:
    """Put a dead letter back to the queue that it came from."""
    return json_answer(DeadLetter.of(desk.requeue(who, letter)))


@router.delete("/admin/dead-letters/{letter}", tags=_TAGS, response_model=DeadLetter, responses=_OF_THINGS)
def discard_dead_letter(letter: LetterId, who: Who, desk: TheDesk) -> Response:
    """Throw a dead letter away. No data is lost by it: reconciliation compares every bucket in full."""
    return json_answer(DeadLetter.of(desk.discard(who, letter)))
