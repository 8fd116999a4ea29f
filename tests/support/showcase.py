"""A desk in memory with a life-like site: for tests of pages and for pictures of them. Wishes change what it shows."""

# ruff: noqa: ARG002, PLR0917 - the arguments are those of the desk

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from softman.dashboard.desk import Desk
from softman.dashboard.desk_views import (
    Condition,
    Health,
    Overview,
    Page,
    Part,
    Pending,
    Queue,
    Receipt,
    Repository,
    Requestable,
    Revision,
)
from softman.errors import NotFound
from softman.identity import Principal
from softman.model import (
    Backlog,
    DeadLetter,
    Death,
    Failure,
    Link,
    LinkProgress,
    LinkState,
    Pause,
    Quotas,
    Refusal,
    Retirement,
    State,
    SyncProgress,
    SyncReport,
    Usage,
    WorkerState,
)
from softman.names import Kind, Owner, RepositoryName
from softman.services import authority
from softman.services.browsing import Change, Changes, Item, Items

DOMAIN = "software.example.org"
DAY = 86400.0
ALICE = Principal("subject-of-alice", "alice", frozenset({"physics"}), frozenset({"physics"}), name="Alice Moreau")
BOB = Principal("subject-of-bob", "bob", frozenset({"physics", "genomics"}), name="Bob Okafor")
NEWCOMER = Principal("subject-of-nina", "nina", name="Nina Lindqvist")
ADMIN = Principal("subject-of-root", "carol", admin=True, name="Carol Weiss")
HOSTILE = (
    b"<script>alert('name')<script>",
    b"\"quoted\" & 'more'.txt",
    "rtl-\u202etxt.exe".encode(),
    b"two\nlines",
    b"not-utf-8-\xff\xfe",
    b"n" * 255,
    "données-日本.csv".encode(),
)
TREE: Mapping[bytes, Sequence[tuple[bytes, int]]] = {
    b"": ((b"README.md", 4_213), (b"setup.sh", 812)),
    b"/bin": ((b"fit-model", 18_420_113), (b"plot-results", 92_114), (b"reco", 44_120_334)),
    b"/data": ((b"calibration-2026.h5", 912_334_221), (b"geometry.root", 61_234_990)),
    b"/lib": ((b"libphysics.so.3", 8_812_004), (b"libtrack.so.1", 5_221_900)),
    b"/odd": tuple((name, 10) for name in HOSTILE),
}


@dataclass
class Shown:
    """One repository of the site."""

    repository: Repository
    reports: tuple[SyncReport, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    waiting: tuple[str, ...] = ()


@dataclass
class Showcase:
    """What the site shows, and what was asked for."""

    shown: dict[RepositoryName, Shown] = field(default_factory=dict)
    missing: tuple[Part, ...] = ()
    wishes: list[tuple[str, ...]] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    queued: str = "broker"
    now: float = field(default_factory=time.time)


class ShowcaseDesk(Desk):
    """A desk without services behind it."""

    def __init__(self, site: Showcase) -> None:
        self.site = site

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    def pulse(self, names: Iterable[RepositoryName]) -> dict[RepositoryName, str]:
        return {name: repr(self.site.shown.get(name)) for name in names}

    def public_key(self, who: Principal, name: RepositoryName) -> tuple[bytes, ...]:
        self._shown(who, name)
        return (b"-----BEGIN PUBLIC KEY-----\nQUFB\n-----END PUBLIC KEY-----\n",)

    def repositories(self, who: Principal) -> Page[Repository]:
        mine = [self._as_seen(who, each) for each in self.site.shown.values()]
        related = (each for each in mine if each.relations - {authority.Relation.ADMIN})
        return Page(tuple(sorted(related, key=lambda each: each.name)), missing=self.site.missing)

    def requestable(self, who: Principal) -> tuple[Requestable, ...]:
        asked = [(Kind.PERSONAL, None), *((Kind.GROUP, group) for group in sorted(who.groups | who.managed))]
        return tuple(self._offer(kind, group or who.user, group) for kind, group in asked)

    def request(self, who: Principal, kind: Kind, group: str | None = None) -> Receipt:
        name = RepositoryName(group or who.user, DOMAIN)
        owner = Owner(who.user, who.subject, kind, group)
        if name not in self.site.shown:
            made = described(name, owner, condition=Condition.MAKING, state=State.REQUESTED, links=chain(0))
            self.site.shown[name] = Shown(replace(made, revision=None, last=None))
        return self._receipt(name, "request", str(kind))

    def repository(self, who: Principal, name: RepositoryName) -> Repository:
        return self._as_seen(who, self._shown(who, name))

    @property
    def takes_uploads(self) -> bool:
        return True

    def syncs(self, who: Principal, name: RepositoryName) -> Page[SyncReport]:
        return Page(self._shown(who, name).reports, missing=self.site.missing)

    def pending(self, who: Principal, name: RepositoryName, limit: int = 100) -> Pending:
        found = self._shown(who, name)
        return Pending(Backlog(len(found.waiting), keys=found.waiting[:limit]), found.repository.progress)

    def refusals(
        self, who: Principal, name: RepositoryName, after: str | None = None, limit: int = 100
    ) -> Page[Refusal]:
        rest = [each for each in self._shown(who, name).refusals if after is None or each.key > after]
        return Page(tuple(rest[:limit]), rest[limit - 1].key if len(rest) > limit else None)

    def revisions(
        self, who: Principal, name: RepositoryName, after: str | None = None, limit: int = 20
    ) -> Page[Revision]:
        found = self._shown(who, name)
        newest = found.repository.revision or 0
        first = newest if after is None else int(after)
        made = {report.revision: report for report in found.reports}
        numbers = range(first, max(first - limit, 0), -1)
        revisions = (
            Revision(
                number,
                made[number].finished_at if number in made else self.site.now - DAY * (newest - number),
                f"{number:040x}",
                ("v2026.1",) if number == newest - 3 else (),
                current=number == newest,
                sync=made.get(number),
            )
            for number in numbers
        )
        return Page(tuple(revisions), str(first - limit) if first > limit else None)

    def diff(
        self, who: Principal, name: RepositoryName, old: int, new: int, after: bytes | None = None, limit: int = 200
    ) -> Changes:
        self._shown(who, name)
        found = (
            Change("changed", b"/bin/fit-model", ("content", "mtime"), 18_120_000, 18_420_113),
            Change("added", b"/data/calibration-2026.h5", (), None, 912_334_221),
            Change("removed", b"/data/calibration-2025.h5", (), 899_120_004, None),
            *(Change("added", b"/odd/" + each, (), None, 10) for each in HOSTILE),
        )
        return Changes(old, new, found[:limit])

    def browse(
        self,
        who: Principal,
        name: RepositoryName,
        path: bytes = b"",
        after: bytes = b"",
        limit: int = 200,
        revision: int | None = None,
    ) -> Items:
        found = self._shown(who, name).repository
        items = [each for each in self._children(path, found) if each.name > after][:limit]
        return Items(self._item(path, "directory"), tuple(items), found.revision or 1, int(self.site.now))

    def entry(self, who: Principal, name: RepositoryName, path: bytes, revision: int | None = None) -> Item:
        found = self._shown(who, name).repository
        if path in TREE:
            return self._item(path, "directory")
        for each in self._children(path.rpartition(b"/")[0], found):
            if each.path == path:
                return each
        msg = f"there is no {path!r}"
        raise NotFound(msg)

    def resync(
        self, who: Principal, name: RepositoryName, prefix: str | None = None, *, verify: bool = False
    ) -> Receipt:
        return self._wished(who, name, authority.Action.RESYNC)

    def roll_back(self, who: Principal, name: RepositoryName, revision: int) -> Receipt:
        pause = Pause(self.site.now, f"rolled back to revision {revision}")
        return self._wished(who, name, authority.Action.ROLL_BACK, pause=pause, condition=Condition.PAUSED)

    def resume(self, who: Principal, name: RepositoryName) -> Receipt:
        return self._wished(who, name, authority.Action.ROLL_BACK, pause=None, condition=Condition.READY)

    def retire(self, who: Principal, name: RepositoryName, *, keep_content: bool = True) -> Receipt:
        end = Retirement(self.site.now, self.site.now + 30 * DAY, keep_content)
        wanted = {"state": State.RETIRED, "condition": Condition.RETIRED, "retirement": end}
        return self._wished(who, name, authority.Action.RETIRE, **wanted)

    def restore(self, who: Principal, name: RepositoryName) -> Receipt:
        wanted = {"state": State.ACTIVE, "condition": Condition.READY, "retirement": None}
        return self._wished(who, name, authority.Action.RESTORE, **wanted)

    def set_quotas(self, who: Principal, name: RepositoryName, quotas: Mapping[str, Any]) -> Receipt:
        wanted = replace(self.repository(who, name).quotas, **quotas)
        return self._wished(who, name, authority.Action.SET_QUOTAS, quotas=wanted)

    def all_repositories(
        self, who: Principal, after: RepositoryName | None = None, limit: int = 100, search: str = ""
    ) -> Page[Repository]:
        authority.require_admin(who)
        found = [
            self._as_seen(who, self.site.shown[name])
            for name in sorted(self.site.shown)
            if (after is None or name > after) and search.lower() in str(name)
        ]
        return Page(tuple(found[:limit]), str(found[limit - 1].name) if len(found) > limit else None)

    def overview(self, who: Principal) -> Overview:
        authority.require_admin(who)
        parts = tuple(Health(part, part not in self.site.missing, "in 3 ms") for part in Part)
        return Overview(parts, ("events of the bucket old-lab are refused: it belongs to somebody else",), 6)

    def queues(self, who: Principal) -> Page[Queue]:
        authority.require_admin(who)
        depths = {
            "stratum0": 0,
            "stratum0.commit": 1,
            "connector": 0,
            "publisher": 14,
            "publisher.bulk": 3,
            "s3-events": 0,
        }
        return Page(
            tuple(
                Queue(name, depth, 1, self.site.now - 4.2 * depth if depth else None) for name, depth in depths.items()
            )
        )

    def workers(self, who: Principal) -> Page[WorkerState]:
        authority.require_admin(who)
        return Page(
            (
                WorkerState("commit@host-1", ("stratum0.commit",), 1, 10_423, 2),
                WorkerState("publisher@host-2", ("publisher", "publisher.bulk"), 4, 88_120, 4),
                WorkerState("stratum0@host-1", ("stratum0",), 0, 2_113, 1),
            )
        )

    def dead_letters(self, who: Principal) -> Page[DeadLetter]:
        authority.require_admin(who)
        return Page(tuple(self.site.letters))

    def requeue(self, who: Principal, id_: str) -> DeadLetter:
        return self._take(who, id_, "requeue")

    def discard(self, who: Principal, id_: str) -> DeadLetter:
        return self._take(who, id_, "discard")

    def health(self) -> tuple[Health, ...]:
        return tuple(Health(part, part not in self.site.missing) for part in Part)

    def _take(self, who: Principal, id_: str, what: str) -> DeadLetter:
        authority.require_admin(who)
        found = next((each for each in self.site.letters if each.id == id_), None)
        if found is None:
            msg = f"there is no dead letter {id_}"
            raise NotFound(msg)
        self.site.letters.remove(found)
        self.site.wishes.append((what, id_))
        return found

    def _shown(self, who: Principal, name: RepositoryName) -> Shown:
        found = self.site.shown.get(name)
        if found is None:
            raise authority.unknown(name)
        authority.require(who, found.repository.owner, authority.Action.SEE, name)
        return found

    def _as_seen(self, who: Principal, found: Shown) -> Repository:
        owner = found.repository.owner
        return replace(
            found.repository,
            relations=authority.relations(who, owner),
            may=authority.allowed(who, owner),
            missing=self.site.missing,
        )

    def _wished(self, who: Principal, name: RepositoryName, action: authority.Action, **now: Any) -> Receipt:
        found = self._shown(who, name)
        authority.require(who, found.repository.owner, action, name)
        found.repository = replace(found.repository, **now)
        return self._receipt(name, str(action))

    def _receipt(self, name: RepositoryName, *wish: str) -> Receipt:
        self.site.wishes.append((*wish, str(name)))
        return Receipt("task", name, self.site.queued)

    def _offer(self, kind: Kind, label: str, group: str | None) -> Requestable:
        name = RepositoryName(label, DOMAIN)
        return Requestable(kind, name, group, exists=name in self.site.shown)

    def _children(self, path: bytes, found: Repository) -> list[Item]:
        if path not in TREE:
            msg = f"there is no {path!r}"
            raise NotFound(msg)
        if not found.usage or not found.usage.bytes:
            return []
        folders = [each for each in TREE if each.rpartition(b"/")[0] == path and each]
        items = [self._item(each, "directory") for each in folders]
        items += [self._item(path + b"/" + name, "file", size) for name, size in TREE[path]]
        if path == b"/bin":
            items.append(replace(self._item(b"/bin/latest", "symlink"), target=b"fit-model"))
        return sorted(items, key=lambda each: each.path)

    def _item(self, path: bytes, kind: str, size: int = 4096) -> Item:
        mode = 0o755 if kind != "file" or path.startswith(b"/bin") else 0o644
        age = len(path) * 3_700
        content = f"{len(path):02x}" * 20 if kind == "file" else None
        return Item(path, kind, size, mode, int(self.site.now) - age, content=content)


def chain(done: int, state: LinkState = LinkState.RUNNING, detail: str = "") -> tuple[LinkProgress, ...]:
    """The making so far: ``done`` links are, the next is in ``state``."""
    at = time.time()
    links = list(Link)
    progress = [LinkProgress(link, LinkState.DONE, at - 3 * (done - n)) for n, link in enumerate(links[:done])]
    if done < len(links):
        progress.append(LinkProgress(links[done], state, at, detail))
    return tuple(progress)


def described(name: RepositoryName, owner: Owner, **more: Any) -> Repository:
    """A repository that is ready, but for what is said."""
    found = Repository(
        name=name,
        owner=owner,
        relations=frozenset(),
        may=frozenset(),
        state=State.ACTIVE,
        condition=Condition.READY,
        url=f"https://cvmfs.example.org/{name}",
        quotas=Quotas(max_entries=1_000_000, max_bytes=2 * 1024**4),
        record_read_at=time.time(),
        revision=1,
        links=chain(len(Link)),
        usage=Usage(1, 0),
    )
    return replace(found, **more)


def reports_of(name: RepositoryName, newest: int, now: float) -> tuple[SyncReport, ...]:
    """The last publications."""
    found = []
    for age in range(min(newest - 1, 26)):
        whole = age % 9 == 8
        at = now - 420 - age * 5_000 - (age * age) * 310
        seconds = 0.34 + ((age * 7) % 11) / 9
        found.append(
            SyncReport(
                str(name),
                newest - age,
                "0" * 40,
                added=(age * 5) % 13 + (240 if whole else 0),
                changed=(age * 3) % 7,
                removed=2 if age % 6 == 1 else 0,
                seconds=41.7 if whole else seconds,
                finished_at=at,
                scope="everything" if whole else f"{(age * 5) % 13 + 1} changed keys",
                refusals=2 if age == 0 else 0,
                entries=1_432 - age * 14,
                bytes=int((9.4 - age * 0.21 + (age % 4) * 0.07) * 1024**3),
                put_at=at - seconds - 0.3 - ((age * 5) % 7) / 5,
            )
        )
    return tuple(found)


def life_like() -> Showcase:
    """A site with something of everything."""
    site = Showcase()
    now = site.now

    def add(label: str, owner: Owner, **more: Any) -> Shown:
        name = RepositoryName(label, DOMAIN)
        shown = site.shown[name] = Shown(described(name, owner, **more))
        return shown

    alice = add(
        "alice", Owner("alice", "subject-of-alice"), revision=214, usage=Usage(1_433, 10_092_544_331), refusals=3,
        configuration='ignore = ["*.tmp", ".git/"]\n\n[unpack]\nbelow = ["software"]\n',
    )  # fmt: skip
    alice.reports = reports_of(alice.repository.name, 214, now)
    alice.repository = replace(alice.repository, last=alice.reports[0])
    alice.refusals = (
        Refusal("cvmfs/bin/plot", "a folder of this name exists too, and the folder wins"),
        Refusal("cvmfs/data/../secret.txt", "the name '..' is not possible"),
        Refusal("cvmfs/releases/v3.tar.gz", "the archive has a link that leads out of it: etc -> /etc"),
    )
    physics = add(
        "physics", Owner("bob", "subject-of-bob", Kind.GROUP, "physics"), revision=58, pending=412,
        condition=Condition.PUBLISHING, usage=Usage(88_120, 611_244_331_002),
        progress=SyncProgress("physics", "everything", now - 94, now, 51_200, 48_100, 31 * 1024**3, 36_920),
    )  # fmt: skip
    physics.reports = reports_of(physics.repository.name, 58, now - 9_000)
    physics.repository = replace(physics.repository, last=physics.reports[0])
    physics.waiting = tuple(f"cvmfs/run-2026/part-{number:03}.root" for number in range(412))
    add("genomics", Owner("bob", "subject-of-bob", Kind.GROUP, "genomics"), condition=Condition.MAKING,
        state=State.CREATED, links=chain(2), revision=None)  # fmt: skip
    stranger = "the bucket bob belongs to robert; nothing of it is published"
    failure = Failure(stranger, "forbidden", now - 4000, now - 40, 12, now + 260)
    add("bob", Owner("bob", "subject-of-bob"), revision=3, condition=Condition.FAILING,
        failure=failure)  # fmt: skip
    add("dave", Owner("dave", "subject-of-dave"), revision=9, state=State.RETIRED, condition=Condition.RETIRED,
        retirement=Retirement(now - 4 * DAY, now + 26 * DAY))  # fmt: skip
    add("erin", Owner("erin", "subject-of-erin"), state=State.CREATED, condition=Condition.STOPPED, revision=None,
        links=chain(3, LinkState.FAILED, "the bucket erin belongs to somebody else"))  # fmt: skip
    gone = "there is no repository old-lab.software.example.org"
    arguments = '["old-lab.software.example.org"]'
    deaths = (Death(now - 7_300, "publisher", gone),), (Death(now - 90_000, "", "the body is no JSON"),)
    site.letters = [
        DeadLetter("9f2c1a77b0de4411", "publisher", "softman.publish_changes", "t-1", arguments, deaths[0]),
        DeadLetter("1b7e55c0aa120934", "", "", "", "", deaths[1], b"<not json>"),
    ]
    return site
