"""One repository: how it stands, what happened lately, and what is wrong with it."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from softman.dashboard import text
from softman.dashboard.depends import Who
from softman.dashboard.pages.charts import size_chart, usual_latency, visible_chart
from softman.dashboard.pages.frame import BASE, Named, TheDesk, after_wish, home_of, repository_page
from softman.dashboard.pages.views import refusal_view, sync_view
from softman.model import State

router = APIRouter(include_in_schema=False)
LATEST = 5
PAGE = 25
KEYS = 20
"""Waiting files that are listed."""


@router.get(BASE)
def overview(request: Request, who: Who, desk: TheDesk, name: Named) -> Response:
    """What is published, at a glance."""
    found = desk.repository(who, name)
    if found.state is State.RETIRED:
        return repository_page(request, who, found, "overview", "repository/retired.html")
    syncs = desk.syncs(who, name)
    return repository_page(
        request,
        who,
        found,
        "overview",
        "repository/overview.html",
        missing=syncs.missing,
        syncs=[sync_view(each) for each in syncs.items[:LATEST]],
        latency=usual_latency(syncs.items),
        charts=[chart for chart in (visible_chart(syncs.items), size_chart(syncs.items)) if chart],
    )


@router.get(BASE + "/activity")
def activity(
    request: Request, who: Who, desk: TheDesk, name: Named, first: Annotated[int, Query(ge=0, le=10_000)] = 0
) -> Response:
    """Each publication, and the one under way."""
    found = desk.repository(who, name)
    syncs = desk.syncs(who, name)
    waiting = desk.pending(who, name, KEYS)
    more = len(syncs.items) > first + PAGE
    here = f"{home_of(name)}/activity"
    return repository_page(
        request,
        who,
        found,
        "activity",
        "repository/activity.html",
        missing=(*syncs.missing, *waiting.missing),
        syncs=[sync_view(each) for each in syncs.items[first : first + PAGE]],
        waiting=[key.removeprefix("cvmfs/") for key in (*waiting.backlog.keys_in_flight, *waiting.backlog.keys)][:KEYS],
        reconcile_every=text.seconds(request.app.state.settings.reconcile_seconds).removesuffix(" 0 s"),
        back=here if first else "",
        next=f"{here}?first={first + PAGE}" if more else "",
    )


@router.get(BASE + "/problems")
def problems(
    request: Request, who: Who, desk: TheDesk, name: Named, after: Annotated[str | None, Query(max_length=4096)] = None
) -> Response:
    """What of the bucket is not published, why, and what helps."""
    found = desk.repository(who, name)
    refused = desk.refusals(who, name, after, PAGE * 2)
    here = f"{home_of(name)}/problems"
    return repository_page(
        request,
        who,
        found,
        "problems",
        "repository/problems.html",
        missing=refused.missing,
        refusals=[refusal_view(each) for each in refused.items],
        back=here if after else "",
        next=f"{here}?after={text.query(refused.after)}" if refused.after else "",
    )


@router.post(BASE + "/resync")
def resync(who: Who, desk: TheDesk, name: Named) -> Response:
    """Compare the whole bucket with what is published."""
    return after_wish(f"{home_of(name)}/activity", "resynced", desk.resync(who, name))
