"""The short journey of a repository through its life, the same wherever repositories are stored."""

from datetime import UTC, datetime, timedelta
from random import Random

from softman import wiring
from softman.adapters.vault_layout import Role
from softman.cvmfs.gc import Retention
from softman.cvmfs.integrity import Extent, check_repository
from softman.cvmfs.repository import Repository
from softman.cvmfs.store.base import StagedStore
from softman.cvmfs.store.http import HttpStore
from softman.names import RepositoryName
from softman.storage import open_store
from tests.support.site import Site
from tests.support.tars import archive, hard_link, member

_BIG = Random(1).randbytes(18 * 1024 * 1024)


def journey(site: Site, user: str) -> RepositoryName:
    """Provision, publish, change, unpack, check, collect garbage, forget a transaction, and go on."""
    name = site.provision(user)
    assert site.shown(name) == {}
    bucket = site.bucket(user)
    files = {"small": b"small", "folder/empty": b"", "big": _BIG, "old": b"old"}
    for path, content in files.items():
        bucket.put(path, content)
    site.shows(name, {f"/{path}": content for path, content in files.items()})
    bucket.delete("old")
    bucket.put("small", b"changed")
    bucket.put("soft/x.tar", archive(member(b"tool", b"1" * 1000), hard_link(b"same", b"tool")))
    unpacked = {"/soft/x/.cvmfscatalog": b"", "/soft/x/tool": b"1" * 1000, "/soft/x/same": b"1" * 1000}
    shown = {"/small": b"changed", "/folder/empty": b"", "/big": _BIG, **unpacked}
    site.shows(name, shown)
    is_sound(site, name)
    collected = repository(site, name).collect_garbage(Retention(revisions=0, age=None))
    assert collected.objects > 0
    is_sound(site, name)
    assert site.shown(name) == shown
    forgets(site, name)
    bucket.delete("soft/x.tar")
    bucket.delete("big")
    bucket.put("after", b"all that")
    site.shows(name, {"/small": b"changed", "/folder/empty": b"", "/after": b"all that"})
    is_sound(site, name)
    return name


def is_sound(site: Site, name: RepositoryName) -> None:
    """A full check over HTTP finds nothing, and nothing stays in staging."""
    reader = HttpStore([f"{site.settings.cvmfs.url}/{name}"])
    keys = wiring.public_keys(site.settings, name)
    found = check_repository(reader, str(name), keys, now=lambda: datetime.now(UTC), extent=Extent(content=True))
    assert list(found) == []
    site.wait(lambda: storage(site, name).oldest_staged() is None, "nothing is staged")


def forgets(site: Site, name: RepositoryName) -> None:
    """What a publisher staged and never came to commit is swept."""
    wiring._staging(site.stack.settings("publisher"), name).write_object([b"forgotten"])
    assert storage(site, name).oldest_staged() is not None
    assert repository(site, name).sweep_staging(timedelta(hours=1)) == 0
    assert repository(site, name).sweep_staging(timedelta(hours=-1)) == 1
    assert storage(site, name).oldest_staged() is None


def storage(site: Site, name: RepositoryName) -> StagedStore:
    """Where stratum 0 keeps a repository."""
    return open_store(site.settings, site.settings.cvmfs.storage, str(name), Role.STRATUM0)


def repository(site: Site, name: RepositoryName) -> Repository:
    """A repository as stratum 0 has it, with its keys."""
    return wiring._repository(site.settings, name, wiring._material(site.settings).get(name).keys)
