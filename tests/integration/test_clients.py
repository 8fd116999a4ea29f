"""Trees that programs of users put into a bucket, changed as people change them: the repository equals the bucket."""

from pathlib import Path

import pytest

from softman.adapters.s3_client import s3_client
from tests.support.clients import CLIENTS, Account, missing, steps
from tests.support.site import Site
from tests.support.trees import below, conda_like, content_of, cvmfs_like, files_of, in_bucket, in_folder


@pytest.mark.parametrize("program", CLIENTS)
def test_the_repository_follows(site: Site, program: str, tmp_path: Path) -> None:
    if reason := missing(program):
        pytest.skip(reason)
    name = site.provision(f"by-{program}")
    account = Account(site.access(name), name.bucket, tmp_path)
    client = CLIENTS[program][0](account)
    folder = tmp_path / "tree"
    cvmfs_like(folder, str(name))
    conda_like(folder / "conda")
    s3 = s3_client(account.access, connections=1)
    for _ in steps(client, folder, "soft"):
        wanted = in_bucket(s3, name.bucket)
        site.shows_nodes(name, wanted)
        shown = below(site.nodes(name), "/soft")
        here = in_folder(folder, follow=not client.keeps_links)
        assert content_of(files_of(shown)) == content_of(files_of(here))
        if client.keeps_modes:
            assert files_of(shown) == files_of(here)
        if client.keeps_links:
            assert content_of(shown) == content_of(here)
    assert site.described(name).refusals == ()
