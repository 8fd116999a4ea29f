"""Every page: what it says, to whom, and that names of users stay names."""

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient

from softman.dashboard.desk_views import Condition, Part
from softman.identity import Principal
from softman.model import Link, Refusal
from softman.names import RepositoryName
from tests.support.showcase import ADMIN, ALICE, BOB, DOMAIN, HOSTILE, NEWCOMER, Showcase, chain
from tests.unit.dashboard.pages.conftest import LogIn

Visit = Callable[[Principal, str], str]
Press = Callable[..., str]
HOME = f"/repositories/alice.{DOMAIN}"
PHYSICS = f"/repositories/physics.{DOMAIN}"
TABS = ("", "/activity", "/problems", "/files", "/files/odd", "/files/bin/latest", "/history", "/settings", "/retire",
        "/history/changes?old=3&new=4", "/history/200/roll-back")  # fmt: skip
ADMIN_PAGES = ("/admin", "/admin/workers", "/admin/dead-letters", f"/admin/repositories/alice.{DOMAIN}")
FORBIDDEN_WORDS = {"stratum", "catalog", "lease", "manifest", "whitelist", "nested", "gateway"}


class _Wellformed(HTMLParser):
    """Elements close in order, and none has a style or a handler of its own."""

    VOID = frozenset({"meta", "link", "input", "br", "hr", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "style" or name.startswith("on"):
                self.problems.append(f"<{tag} {name}>")
            if name == "id" and value:
                self.ids.append(value)
        if tag not in self.VOID and tag not in {"path", "rect", "circle", "line", "polyline", "polygon"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in {"path", "rect", "circle", "line", "polyline", "polygon"}:
            return
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}>")


@pytest.mark.parametrize(
    ("who", "address"),
    [
        (NEWCOMER, "/"),
        (ALICE, "/"),
        *((ALICE, HOME + tab) for tab in TABS),
        (BOB, PHYSICS),
        (BOB, f"/repositories/genomics.{DOMAIN}/being-made"),
        (BOB, f"/repositories/bob.{DOMAIN}"),
        (ADMIN, f"/repositories/dave.{DOMAIN}"),
        *((ADMIN, address) for address in ADMIN_PAGES),
    ],
)
def test_a_page_is_whole(visit: Visit, who: Principal, address: str) -> None:
    text = visit(who, address)
    found = _Wellformed()
    found.feed(text)
    assert found.problems == []
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert text.count("<h1") == 1
    assert "Undefined" not in text


@pytest.mark.parametrize("address", ["/", *(HOME + tab for tab in TABS), f"/repositories/genomics.{DOMAIN}/being-made"])
def test_scientists_read_no_words_of_the_trade(visit: Visit, address: str) -> None:
    text = re.sub(r"<[^>]*>", " ", visit(BOB if "genomics" in address else ALICE, address)).lower()
    assert set(re.findall(r"[a-z]+", text)) & FORBIDDEN_WORDS == set()


def test_a_newcomer_is_welcome(visit: Visit) -> None:
    text = visit(NEWCOMER, "/")
    assert "Request personal repository" in text
    assert f"nina.{DOMAIN}" in text


def test_one_click_asks_and_leads_to_its_progress(visit: Visit, press: Press, showcase: Showcase) -> None:
    leads_to = press(NEWCOMER, "/repositories", kind="personal")
    assert leads_to == f"/repositories/nina.{DOMAIN}/being-made?said=requested"
    assert showcase.wishes == [("request", "personal", f"nina.{DOMAIN}")]
    text = visit(NEWCOMER, leads_to)
    assert "Your repository is on its way" in text
    assert 'data-stage="making"' in text
    assert visit(NEWCOMER, "/").count("Being made") == 1


def test_what_nobody_has_begun_yet_is_shown_as_asked_for(visit: Visit) -> None:
    assert "about to be made" in visit(NEWCOMER, f"/repositories/nina.{DOMAIN}/being-made")


def test_a_wish_that_waits_says_so(visit: Visit, press: Press, showcase: Showcase) -> None:
    showcase.queued = "outbox"
    leads_to = press(NEWCOMER, "/repositories", kind="personal")
    assert "Your wish is kept" in visit(NEWCOMER, leads_to)


def test_a_group_repository_can_be_asked_for_by_its_members(visit: Visit, press: Press, showcase: Showcase) -> None:
    del showcase.shown[RepositoryName("genomics", DOMAIN)]
    assert "Request for genomics" in visit(BOB, "/")
    press(BOB, "/repositories", kind="group", group="genomics")
    assert showcase.wishes == [("request", "group", f"genomics.{DOMAIN}")]


def test_while_it_is_made_every_page_leads_to_the_progress(client: TestClient, log_in: LogIn, visit: Visit) -> None:
    log_in(BOB)
    made = f"/repositories/genomics.{DOMAIN}"
    for tab in ("", "/files", "/settings"):
        answer = client.get(made + tab)
        assert (answer.status_code, answer.headers.get("location")) == (303, f"{made}/being-made"), tab
    text = visit(BOB, f"{made}/being-made")
    assert "2 of 5 steps" in text
    assert 'aria-current="step"' in text


def test_once_it_is_made_the_progress_leads_to_it(client: TestClient, log_in: LogIn) -> None:
    log_in(ALICE)
    assert client.get(f"{HOME}/being-made").headers["location"] == HOME


def test_a_repository_that_is_asked_for_again_keeps_its_pages(visit: Visit, showcase: Showcase) -> None:
    shown = showcase.shown[RepositoryName("alice", DOMAIN)]
    assert shown.repository.last is not None
    for making in (chain(0), chain(2), chain(4)):
        shown.repository = replace(shown.repository, condition=Condition.MAKING, links=making)
        assert "Being made" in visit(ALICE, f"{HOME}/files")
    shown.repository = replace(shown.repository, last=None, links=(*chain(0), *chain(len(Link))[1:]))
    assert "Where it is" in visit(ALICE, HOME)


def test_a_stopped_making_says_why(visit: Visit) -> None:
    text = visit(ADMIN, f"/repositories/erin.{DOMAIN}/being-made")
    assert "It stopped:" in text
    assert "the bucket erin belongs to somebody else" in text


@pytest.mark.parametrize("tab", ["", *TABS])
def test_nobody_sees_the_pages_of_others(client: TestClient, log_in: LogIn, tab: str) -> None:
    log_in(NEWCOMER)
    answer = client.get(HOME + tab, headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "alice" not in answer.text.replace(HOME, "")


def test_the_pages_of_administrators_are_for_them(client: TestClient, log_in: LogIn) -> None:
    log_in(ALICE)
    assert [client.get(address).status_code for address in ADMIN_PAGES] == [403] * len(ADMIN_PAGES)


def test_names_that_try_to_be_something_else(visit: Visit) -> None:
    text = visit(ALICE, HOME + "/files/odd")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#39;name&#39;)" in text
    assert "\u202e" not in text
    assert ">U+202E</span>" in text
    assert ">\\n</span>" in text
    assert ">\\xff</span>" in text
    assert "données-日本.csv" in text
    assert len(re.findall(r'class="first"', text)) == len(HOSTILE)


def test_every_name_has_a_page_of_its_own(visit: Visit) -> None:
    links = re.findall(r'href="([^"]*/files/odd/[^"]+)"', visit(ALICE, HOME + "/files/odd"))
    assert len(links) == len(HOSTILE)
    details = [visit(ALICE, link) for link in links]
    assert all("Permissions" in each for each in details)


def test_a_refused_key_comes_with_advice(visit: Visit, showcase: Showcase) -> None:
    shown = showcase.shown[RepositoryName("alice", DOMAIN)]
    shown.refusals = (Refusal("cvmfs/<b>x</b>", "quota: the repository would have 9 entries; 8 are possible"),)
    shown.repository = replace(shown.repository, refusals=1)
    text = visit(ALICE, HOME + "/problems")
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert "ask for a higher limit" in text
    assert "1 file is not published" in text


def test_what_is_away_is_said_in_words(visit: Visit, showcase: Showcase) -> None:
    showcase.missing = (Part.REDIS,)
    assert "recent activity are not known" in visit(ALICE, HOME)


def test_going_back_asks_first_and_can_be_ended(visit: Visit, press: Press, showcase: Showcase) -> None:
    question = visit(ALICE, HOME + "/history/200/roll-back")
    assert "Nothing of the history is lost" in question
    assert "/bin/fit-model" in question
    assert press(ALICE, HOME + "/history/200/roll-back") == f"{HOME}/history?said=rolled-back"
    assert "Publish the bucket again" in visit(ALICE, HOME)
    press(ALICE, HOME + "/resume")
    assert "Publish the bucket again" not in visit(ALICE, HOME)
    assert [wish[0] for wish in showcase.wishes] == ["roll-back", "roll-back"]


def test_members_of_a_group_see_no_button_that_is_not_theirs(visit: Visit) -> None:
    member, manager = visit(BOB, PHYSICS + "/history"), visit(ALICE, PHYSICS + "/history")
    assert "Go back to" not in member
    assert "Go back to" in manager
    assert "Retire this repository" not in visit(BOB, PHYSICS + "/settings")


def test_retiring_wants_the_name(client: TestClient, log_in: LogIn, showcase: Showcase) -> None:
    session = log_in(ALICE)
    fields = {"csrf_token": session.csrf_token, "confirm": "alice"}
    assert "not the name" in client.post(HOME + "/retire", data=fields).text
    assert showcase.wishes == []


def test_what_is_retired_can_come_back(press: Press, visit: Visit) -> None:
    press(ALICE, HOME + "/retire", confirm=f"alice.{DOMAIN}")
    assert "Restore it" in visit(ALICE, HOME)
    press(ALICE, HOME + "/restore")
    assert "Restore it" not in visit(ALICE, HOME)


def test_a_form_without_its_token_is_refused(client: TestClient, log_in: LogIn, showcase: Showcase) -> None:
    log_in(ALICE)
    assert client.post(HOME + "/resync").status_code == 403
    assert showcase.wishes == []


def test_rules_in_force_are_shown(visit: Visit) -> None:
    text = visit(ALICE, HOME + "/settings")
    assert "<code>*.tmp</code>" in text
    assert "are unpacked in <code>software</code>" in text


def test_the_admin_finds_a_repository(visit: Visit) -> None:
    text = visit(ADMIN, "/admin?q=PHYS")
    assert f"physics.{DOMAIN}" in text
    assert f"alice.{DOMAIN}" not in text
    assert "Nothing found" in visit(ADMIN, "/admin?q=<script>")


def test_limits_are_typed_in_words(client: TestClient, log_in: LogIn, press: Press, showcase: Showcase) -> None:
    limits = {"max_entries": "2 000 000", "max_bytes": "1.5T", "max_object_bytes": "10 GiB", "max_archive_bytes": "5g"}
    place = f"/admin/repositories/alice.{DOMAIN}"
    press(ADMIN, place, **limits)
    assert showcase.shown[RepositoryName("alice", DOMAIN)].repository.quotas.max_bytes == 3 * 1024**4 // 2
    session = log_in(ADMIN)
    answer = client.post(place, data={"csrf_token": session.csrf_token, **limits, "max_bytes": "<much>"})
    assert answer.status_code == 422
    assert "&lt;much&gt;" in answer.text


def test_dead_letters_go_back_or_away(press: Press, visit: Visit, showcase: Showcase) -> None:
    first, second = (letter.id for letter in showcase.letters)
    press(ADMIN, f"/admin/dead-letters/{first}/requeue")
    press(ADMIN, f"/admin/dead-letters/{second}/discard")
    assert showcase.wishes == [("requeue", first), ("discard", second)]
    assert "No dead letters" in visit(ADMIN, "/admin/dead-letters")


@pytest.mark.parametrize(("who", "start"), [(ALICE, HOME), (BOB, "/"), (ADMIN, "/admin")])
def test_no_link_leads_nowhere(client: TestClient, log_in: LogIn, who: Principal, start: str) -> None:
    log_in(who)
    known, left = {start}, [start]
    while left and len(known) < 60:
        address = left.pop(0)
        answer = client.get(address, headers={"Accept": "text/html"})
        assert answer.status_code in {200, 303}, address
        if answer.headers.get("content-type", "").startswith("text/html"):
            links = {unescape(link).partition("#")[0] for link in re.findall(r'href="(/[^"]*)"', answer.text)}
            new = sorted(links - known)
            known |= set(new)
            left += new
    assert len(known) > 20
