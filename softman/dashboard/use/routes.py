"""The tab "Use it" and its downloads: nothing here is secret, but to know of a repository one has to be let in."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from softman.dashboard.depends import Who, settings
from softman.dashboard.pages.frame import BASE, Named, TheDesk, repository_page
from softman.dashboard.use.guides import guides
from softman.errors import NotFound, SoftmanError
from softman.identity import Principal
from softman.names import RepositoryName
from softman.services.authority import Action
from softman.services.mounting import Mounting
from softman.settings import Settings

router = APIRouter(prefix=BASE + "/use", include_in_schema=False)
Site = Annotated[Settings, Depends(settings)]
_PLAIN, _PACKED = "text/plain; charset=utf-8", "application/gzip"


@router.get("")
def page(request: Request, who: Who, desk: TheDesk, name: Named, site: Site) -> Response:
    """How to mount the repository."""
    found = desk.repository(who, name)
    try:
        mounting = _mounting(desk, who, name, site)
    except SoftmanError as exc:
        mounting, problem = None, str(exc)
    else:
        problem = ""
    return repository_page(
        request,
        who,
        found,
        "use",
        "repository/use.html",
        mounting=mounting,
        problem=problem,
        guides=() if mounting is None else guides(mounting),
        files=() if mounting is None else tuple(_files(mounting)),
        ttl=site.cvmfs.ttl,
        publisher=Action.PUBLISHER_KEYS in found.may,
        vault_address=site.vault.address,
        vault_mount=site.vault.mount,
        vault_login=site.vault.users.mount,
        vault_folder=found.owner.vault_prefix,
    )


@router.get("/{file}")
def download(who: Who, desk: TheDesk, name: Named, file: str, site: Site) -> Response:
    """One file: the bundle, the configuration, or a public key.

    Raises:
        NotFound: there is none of this name.
    """
    found = _files(_mounting(desk, who, name, site)).get(file)
    if found is None:
        msg = f"there is no file {file[:80]!r} to download"
        raise NotFound(msg)
    media_type, content = found
    headers = {"Content-Disposition": f'attachment; filename="{file}"', "Cache-Control": "private, no-cache"}
    return Response(content, media_type=media_type, headers=headers)


def _mounting(desk: TheDesk, who: Principal, name: RepositoryName, site: Settings) -> Mounting:
    url = f"{site.cvmfs.url.rstrip('/')}/{name}"
    return Mounting(name, url, desk.public_key(who, name), site.cvmfs.ttl)


def _files(mounting: Mounting) -> dict[str, tuple[str, bytes]]:
    keys = {path.rpartition("/")[2]: (_PLAIN, key) for path, key in mounting.key_files.items()}
    return {
        mounting.bundle_name: (_PACKED, mounting.bundle()),
        f"{mounting.name}.conf": (_PLAIN, mounting.configuration().encode()),
        **keys,
    }
