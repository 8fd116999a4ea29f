"""The quota of an owner over several repositories, on real parts: a publisher and a stratum 0 that have one.

They work beside those of the site, which have none, so that what these publish counts.
"""

import pytest

from softman import wiring
from softman.adapters.s3_connector import S3Connector
from softman.errors import CandidateRefused
from softman.model import CommitAnswer, CommitRequest, LinkState
from softman.services.publisher import Publisher
from softman.settings import Settings
from tests.support.site import Site

OWNER, GROUP = "hoarder", "hoarders"
LIMIT = 1500


class Door:
    """Stratum 0 of the same process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def commit(self, request: CommitRequest) -> CommitAnswer:
        """Check and sign."""
        return wiring.stratum0(self._settings).commit(request)


def test_what_one_owner_has_in_two_repositories_is_limited(site: Site) -> None:
    name = site.provision(OWNER)
    site.stack.create_s3_user(GROUP)
    team = site.ask(OWNER, "group", GROUP)
    site.wait(lambda: site.link_states(team) == {LinkState.DONE}, f"{team} is provisioned")
    site.bucket(GROUP).put("shared", b"s" * 1000)
    site.shows(team, {"/shared": b"s" * 1000})
    S3Connector.from_settings(site.settings.s3).remove_notification(OWNER)  # the site's own have no limit
    sync = site.settings.sync.model_copy(update={"owner_bytes": LIMIT})
    limited = site.settings.model_copy(update={"sync": sync})

    def publisher(settings: Settings) -> Publisher:
        return wiring.publisher(settings, Door(limited))

    site.bucket(OWNER).put("fits", b"f" * 400)
    assert publisher(limited).sync_everything(name).reports[0].added == 1
    site.bucket(OWNER).put("too-much", b"m" * 200)
    publisher(limited).sync_everything(name)
    (refusal,) = site.described(name).refusals
    assert refusal.key == "cvmfs/too-much"
    assert refusal.reason == f"quota: all repositories of {OWNER} together would have 1600 bytes; {LIMIT} are possible"
    with pytest.raises(CandidateRefused, match=f"600 bytes .*, 500 are possible; other repositories of {OWNER} hold 2"):
        publisher(site.settings).sync_everything(name)
    assert site.shown(name) == {"/fits": b"f" * 400}
    site.bucket(OWNER).delete("fits")
    assert publisher(limited).sync_everything(name).reports[0].removed == 1
    site.shows(name, {"/too-much": b"m" * 200})
