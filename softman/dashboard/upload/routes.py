"""The tab "Upload" and what its scripts ask for. The bytes of files do not come this way."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from softman.adapters.upload_ports import SignedRequest
from softman.dashboard.depends import Who, settings
from softman.dashboard.desk_views import Repository
from softman.dashboard.pages.frame import BASE, Named, TheDesk, repository_page
from softman.dashboard.rates import Rate, Rates, caller
from softman.dashboard.upload import bodies
from softman.dashboard.upload.commands import recipes
from softman.services.authority import Action
from softman.settings import Settings

_LONGEST_FOLDER = 1000
router = APIRouter(prefix=BASE + "/upload", include_in_schema=False)
asked = APIRouter()


def _limited(request: Request, who: Who) -> None:
    rates: Rates = request.app.state.rates
    rates.hit(Rate.UPLOAD, caller(request, who))


@router.get("")
def page(
    request: Request,
    who: Who,
    desk: TheDesk,
    name: Named,
    site: Annotated[Settings, Depends(settings)],
    *,
    folder: Annotated[str, Query(alias="in", max_length=_LONGEST_FOLDER)] = "",
) -> Response:
    """Where files are dropped."""
    found = desk.repository(who, name)
    endpoint = site.s3.public_endpoint or site.s3.endpoint
    return repository_page(
        request,
        who,
        found,
        "upload",
        "repository/upload.html",
        hindrance=_hindrance(found, takes_uploads=desk.takes_uploads),
        recipes=recipes(name.bucket, endpoint, site.s3.region),
        endpoint=endpoint,
        folder=folder.strip("/"),
        most_files=site.uploads.max_files,
        credentials_url=site.dashboard.credentials_url,
        credentials_text=site.dashboard.credentials_text,
    )


def _hindrance(found: Repository, *, takes_uploads: bool) -> tuple[str, str] | None:
    """Why nothing can be uploaded on this page, as a title and a text; None when it can."""
    if Action.UPLOAD not in found.may:
        return "You may look, not upload", "Only its owner, and members of its group, put files into this bucket."
    if not takes_uploads:
        return (
            "Uploads go by other programs here",
            "This service takes no files from browsers.",
        )
    return None


@asked.post("/plan")
def plan(who: Who, name: Named, desk: TheDesk, body: bodies.PlanBody) -> bodies.PlanAnswer:
    """What would become of files."""
    found = desk.plan_uploads(who, name, [file.local for file in body.files])
    return bodies.PlanAnswer(
        files=[
            bodies.PlannedAnswer(
                shown=each.shown, kind=each.kind, reason=each.reason, replaces=each.replaces, part=each.part
            )
            for each in found.files
        ],
        bytes_left=found.bytes_left,
        entries_left=found.entries_left,
    )


@asked.post("/sign")
def sign(who: Who, name: Named, desk: TheDesk, body: bodies.SignBody) -> bodies.SignAnswer:
    """Allow small files to be put."""
    signed = desk.sign_uploads(who, name, [file.local for file in body.files])
    answers = [
        _request(each) if isinstance(each, SignedRequest) else bodies.RequestAnswer(reason=str(each)) for each in signed
    ]
    return bodies.SignAnswer(requests=answers)


@asked.post("/begin")
def begin(who: Who, name: Named, desk: TheDesk, body: bodies.BeginBody) -> bodies.BegunAnswer:
    """Begin a large file."""
    return bodies.BegunAnswer(upload=desk.begin_upload(who, name, body.file.local))


@asked.post("/parts/sign")
def sign_parts(who: Who, name: Named, desk: TheDesk, body: bodies.PartsBody) -> bodies.PartsAnswer:
    """Allow parts of it to be put."""
    signed = desk.sign_parts(who, name, body.file.local, body.upload, body.numbers)
    return bodies.PartsAnswer(requests={number: _request(each) for number, each in signed.items()})


@asked.post("/parts")
def arrived(who: Who, name: Named, desk: TheDesk, body: bodies.UploadBody) -> bodies.ArrivedAnswer:
    """The parts that are there."""
    return bodies.ArrivedAnswer(numbers=desk.arrived_parts(who, name, body.file.local, body.upload))


@asked.post("/complete")
def complete(who: Who, name: Named, desk: TheDesk, body: bodies.UploadBody) -> bodies.CompletedAnswer:
    """Make the object of its parts."""
    return bodies.CompletedAnswer(etag=desk.complete_upload(who, name, body.file.local, body.upload))


@asked.post("/abort", status_code=204)
def abort(who: Who, name: Named, desk: TheDesk, body: bodies.UploadBody) -> None:
    """Forget it."""
    desk.abort_upload(who, name, body.file.local, body.upload)


@asked.post("/followed")
def followed(who: Who, name: Named, desk: TheDesk, body: bodies.FollowBody) -> bodies.PublishedAnswer:
    """What has become of files that were uploaded."""
    published, refused = desk.follow_uploads(who, name, body.etags)
    return bodies.PublishedAnswer(published=sorted(published), refused=refused)


def _request(signed: SignedRequest) -> bodies.RequestAnswer:
    return bodies.RequestAnswer(url=signed.url, headers=signed.headers)


router.include_router(asked, dependencies=[Depends(_limited)])
