"""Pages of administrators: all repositories, the machinery, dead letters, limits and who asked for what."""

import time
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from softman.dashboard import text
from softman.dashboard.depends import Who
from softman.dashboard.desk_views import Part, Queue, Repository
from softman.dashboard.pages.frame import Named, TheDesk, after_wish, repository_name
from softman.dashboard.pages.settings import meters
from softman.dashboard.pages.views import missing_in_words, repository_view
from softman.dashboard.pages.words import SERVICES
from softman.dashboard.rendering import page
from softman.errors import InvalidInput
from softman.identity import Principal
from softman.services import authority

router = APIRouter(prefix="/admin", include_in_schema=False)
PAGE = 50
_FIELDS = (
    ("max_entries", "Files and folders", "A number"),
    ("max_bytes", "Size of everything", "Such as 500 GiB"),
    ("max_object_bytes", "Size of one file", "Such as 10 GiB"),
    ("max_archive_bytes", "Size of one archive", "Such as 10 GiB"),
)


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue in words."""

    name: str
    messages: int
    age: str
    consumers: int
    lonely: bool


@dataclass(frozen=True, slots=True)
class FieldView:
    """A limit that can be changed."""

    name: str
    label: str
    value: str
    hint: str


@router.get("")
def repositories(
    request: Request,
    who: Who,
    desk: TheDesk,
    q: Annotated[str, Query(max_length=80)] = "",
    after: Annotated[str, Query(max_length=80)] = "",
) -> Response:
    """All repositories, by name."""
    found = desk.all_repositories(who, repository_name(after) if after else None, PAGE, search=q.strip())
    more = [f"q={text.query(q)}"] if q else []
    return _page(
        request,
        who,
        "repositories",
        "repositories.html",
        missing=found.missing,
        q=q,
        repositories=[repository_view(each) for each in found.items],
        back="/admin?" + "&".join(more) if after else "",
        next="/admin?" + "&".join([*more, f"after={text.query(found.after)}"]) if found.after else "",
    )


@router.get("/workers")
def workers(request: Request, who: Who, desk: TheDesk) -> Response:
    """Whether services answer, what waits in queues, and who works on it."""
    overview, queues, found = desk.overview(who), desk.queues(who), desk.workers(who)
    services = [
        {"name": SERVICES[each.part], "detail": each.detail, "answers": each.answers} for each in overview.parts
    ]
    return _page(
        request,
        who,
        "workers",
        "workers.html",
        missing=(*queues.missing, *found.missing),
        services=services,
        concerns=overview.concerns,
        waiting=overview.waiting,
        queues=[_queue_view(each) for each in queues.items],
        workers=found.items,
    )


@router.get("/dead-letters")
def dead_letters(request: Request, who: Who, desk: TheDesk) -> Response:
    """Messages that nobody could work on."""
    found = desk.dead_letters(who)
    return _page(request, who, "dead-letters", "letters.html", missing=found.missing, letters=found.items)


@router.post("/dead-letters/{letter}/requeue")
def requeue(who: Who, desk: TheDesk, letter: str) -> Response:
    """Send one again."""
    desk.requeue(who, letter)
    return after_wish("/admin/dead-letters", "requeued")


@router.post("/dead-letters/{letter}/discard")
def discard(who: Who, desk: TheDesk, letter: str) -> Response:
    """Throw one away."""
    desk.discard(who, letter)
    return after_wish("/admin/dead-letters", "discarded")


@router.get("/repositories/{name}")
def quotas(request: Request, who: Who, desk: TheDesk, name: Named) -> Response:
    """The limits of one repository."""
    authority.require_admin(who)
    return _quotas_page(request, who, desk.repository(who, name))


class QuotasForm(BaseModel):
    """What was typed."""

    max_entries: str = Field(max_length=30)
    max_bytes: str = Field(max_length=30)
    max_object_bytes: str = Field(max_length=30)
    max_archive_bytes: str = Field(max_length=30)


@router.post("/repositories/{name}")
def set_quotas(request: Request, who: Who, desk: TheDesk, name: Named, form: Annotated[QuotasForm, Form()]) -> Response:
    """Change them."""
    typed = form.model_dump()
    try:
        wanted = {key: _understood(key, value) for key, value in typed.items()}
    except InvalidInput as exc:
        return _quotas_page(request, who, desk.repository(who, name), typed, str(exc))
    return after_wish(f"/admin/repositories/{name}", "quotas", desk.set_quotas(who, name, wanted))


def _understood(key: str, value: str) -> int:
    if key == "max_entries":
        plain = value.replace(" ", "").replace("\N{NARROW NO-BREAK SPACE}", "")
        if plain.isascii() and plain.isdigit() and int(plain) > 0:
            return int(plain)
        msg = f"{value!r} is no number of files"
        raise InvalidInput(msg)
    return text.bytes_typed(value)


def _quotas_page(
    request: Request, who: Principal, found: Repository, typed: dict[str, str] | None = None, wrong: str = ""
) -> Response:
    shown = typed or {
        key: text.number(getattr(found.quotas, key)) if key == "max_entries" else text.size(getattr(found.quotas, key))
        for key, _, _ in _FIELDS
    }
    return _page(
        request,
        who,
        "repositories",
        "quotas.html",
        missing=found.missing,
        status=422 if wrong else 200,
        repository=repository_view(found),
        meters=meters(found.usage, found.quotas),
        fields=[FieldView(key, label, shown[key], hint) for key, label, hint in _FIELDS],
        wrong=wrong,
    )


def _queue_view(found: Queue) -> QueueView:
    age = "" if found.waiting_since is None else text.seconds(max(time.time() - found.waiting_since, 0))
    return QueueView(found.name, found.messages, age, found.consumers, not found.consumers and found.messages > 0)


def _page(
    request: Request,
    who: Principal,
    tab: str,
    template: str,
    *,
    missing: tuple[Part, ...] = (),
    status: int = 200,
    **context: Any,
) -> Response:
    return page(
        request,
        f"admin/{template}",
        status,
        who=who,
        section="admin",
        tab=tab,
        flower=getattr(request.app.state.settings.dashboard, "flower_url", ""),
        missing=missing_in_words(missing),
        **context,
    )
