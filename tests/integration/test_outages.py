"""The vault is away, under all workers: what needs it waits, without using up its attempts, and is done afterwards."""

from collections.abc import Callable
from pathlib import Path

import pytest

from softman.model import LinkState
from tests.support.chaos.faults import FAULTS
from tests.support.chaos.scene import borrowed
from tests.support.site import Site

_KINDS = {fault.name: fault for fault in FAULTS}


def _since(log: Path) -> Callable[[], str]:
    """What is written to a log from now on."""
    begin = log.stat().st_size
    return lambda: log.read_bytes()[begin:].decode(errors="replace")


@pytest.mark.parametrize("how", ["stopped", "sealed"])
def test_work_waits_for_the_vault_and_is_done_afterwards(site: Site, how: str) -> None:
    known = site.provision(f"known-{how}")
    site.dead_letters()
    scene = borrowed(site, 0)
    fault = _KINDS[f"vault {how}"]
    if fault.hinder(scene):
        pytest.skip(fault.hinder(scene))
    logs = site.stack.directory / "log"
    said = _since(logs / "stratum0.log")
    heal = fault.inject(scene)
    try:
        user = f"late-{how}"
        site.stack.create_s3_user(user)
        for _ in range(4):  # each is a failure: three in a row open the circuit
            asked = site.ask(user)
        site.bucket(known.bucket).put("meanwhile", b"written")
        site.wait(lambda: "code=outage" in said(), "the circuit is open and work is postponed")
        assert "task gave up" not in said()
        assert site.link_states(asked) == set()
    finally:
        heal()
    site.shows(known, {"/meanwhile": b"written"})
    site.wait(lambda: site.link_states(asked) == {LinkState.DONE}, f"{asked} is provisioned")
    site.bucket(user).put("after", b"all")
    site.shows(asked, {"/after": b"all"})
    assert site.dead_letters() == []
