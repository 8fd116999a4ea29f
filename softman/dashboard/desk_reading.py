"""The desk, reading: what a person sees of repositories."""

from dataclasses import replace

from softman.dashboard.desk_base import BaseDesk
from softman.dashboard.desk_views import Page, Part, Pending, Repository, Requestable, Revision
from softman.errors import InvalidInput, ServiceUnavailable, SoftmanError
from softman.identity import Principal
from softman.model import Backlog, Refusal, SyncProgress, SyncReport
from softman.names import Kind, Owner, RepositoryName
from softman.services import authority
from softman.services.browsing import Changes, Item, Items
from softman.services.roster import Known


class ReadingDesk(BaseDesk):
    """Questions. Every one raises ``NotFound`` for a repository that the person may not see."""

    def repositories(self, who: Principal) -> Page[Repository]:
        """The person's own repositories and those of their groups, sorted by name."""
        roster = self._services.roster
        known = {each.record.repository: each for each in roster.owned(who.subject, who.groups | who.managed)}
        if roster.listed_at is None:  # before the first list is read, one's own names are enough
            for each in self.requestable(who):
                found = self._look(each.name)
                if found is not None and authority.allowed(who, found.record.owner):
                    known[found.record.repository] = found
        described, missing = self._described(who, [known[name] for name in sorted(known)])
        return Page(described, missing=missing, read_at=roster.listed_at)

    def requestable(self, who: Principal) -> tuple[Requestable, ...]:
        """What the person may ask for: a personal repository and those of their groups; first the personal one."""
        asked = [(Kind.PERSONAL, None), *((Kind.GROUP, group) for group in sorted(who.groups | who.managed))]
        return tuple(self._requestable(who, kind, group) for kind, group in asked)

    def repository(self, who: Principal, name: RepositoryName) -> Repository:
        """One repository, with what it holds as far as the web server tells.

        Raises:
            NotFound: there is none that the person may see.
        """
        described, missing = self._described(who, [self._seen(who, name)])
        found = replace(described[0], missing=missing)
        if not found.revision:
            return found
        try:
            return replace(found, usage=self._services.browser.usage(name))
        except SoftmanError:
            return replace(found, missing=(*missing, Part.REPOSITORIES))

    def syncs(self, who: Principal, name: RepositoryName) -> Page[SyncReport]:
        """The last syncs, newest first, each with the first of its refusals."""
        self._seen(who, name)
        reports, missing = self._reports(name)
        return Page(tuple(reports), missing=missing)

    def pending(self, who: Principal, name: RepositoryName, limit: int = 100) -> Pending:
        """What is to be published yet, with up to ``limit`` keys, and the sync under way."""
        self._seen(who, name)

        def ask() -> tuple[Backlog, SyncProgress | None]:
            return self._services.pending.backlog(name, limit), self._services.records.progress(name)

        try:
            return Pending(*ask())
        except SoftmanError:
            return Pending(Backlog(), missing=(Part.REDIS,))

    def refusals(
        self, who: Principal, name: RepositoryName, after: str | None = None, limit: int = 100
    ) -> Page[Refusal]:
        """A page of the keys that are not published, and why, by key."""
        self._seen(who, name)
        try:
            found = self._services.records.refusals(name)
        except SoftmanError:
            return Page((), missing=(Part.REDIS,))
        rest = [each for each in found if after is None or each.key > after]
        return Page(tuple(rest[:limit]), rest[limit - 1].key if len(rest) > limit else None)

    def revisions(
        self, who: Principal, name: RepositoryName, after: str | None = None, limit: int = 20
    ) -> Page[Revision]:
        """A page of the revisions that can still be looked at, newest first, with what made each where it is known."""
        self._seen(who, name)
        past = self._services.browser.revisions(name, after=after, limit=limit)
        reports, missing = self._reports(name)
        made_by = {report.revision: report for report in reports}
        found = tuple(
            Revision(
                each.number,
                each.published_at,
                each.root_hash,
                each.tags,
                each.description,
                each.current,
                made_by.get(each.number),
            )
            for each in past.revisions
        )
        return Page(found, past.after, missing)

    def diff(
        self, who: Principal, name: RepositoryName, old: int, new: int, *, after: bytes | None = None, limit: int = 200
    ) -> Changes:
        """A page of what changed from one revision to another.

        Raises:
            NotFound: one of the revisions is not there any more.
        """
        self._seen(who, name)
        return self._services.browser.differences(name, old, new, after=after, limit=limit)

    def browse(
        self,
        who: Principal,
        name: RepositoryName,
        path: bytes = b"",
        *,
        after: bytes = b"",
        limit: int = 200,
        revision: int | None = None,
    ) -> Items:
        """A page of a directory, by name; names and paths are bytes.

        Raises:
            NotFound: there is no such directory or revision.
        """
        self._seen(who, name)
        return self._services.browser.directory(name, path, after=after, limit=limit, revision=revision)

    def entry(self, who: Principal, name: RepositoryName, path: bytes, revision: int | None = None) -> Item:
        """One file, directory or symbolic link.

        Raises:
            NotFound: there is none, or no such revision.
        """
        self._seen(who, name)
        return self._services.browser.entry(name, path, revision=revision)

    def public_key(self, who: Principal, name: RepositoryName) -> tuple[bytes, ...]:
        """The public keys, PEM, with which clients mount it: the one in use, and the next once it is announced.

        Raises:
            NotFound: it has none yet.
        """
        self._seen(who, name)
        return self._services.public_keys(name)

    def _reports(self, name: RepositoryName) -> tuple[list[SyncReport], tuple[Part, ...]]:
        try:
            return self._services.records.reports(name), ()
        except SoftmanError:
            return [], (Part.REDIS,)

    def _look(self, name: RepositoryName | None) -> Known | None:
        try:
            return None if name is None else self._services.roster.look(name)
        except ServiceUnavailable:
            return None

    def _requestable(self, who: Principal, kind: Kind, group: str | None) -> Requestable:
        try:
            owner = Owner(who.user, who.subject, kind, group)
            name = RepositoryName(owner.label, self._services.domain)
        except InvalidInput as exc:
            return Requestable(kind, None, group, problem=str(exc))
        known = self._services.roster.get(name)
        if known is None:
            return Requestable(kind, name, group)
        theirs = known.record.owner
        if (theirs.kind, theirs.group) != (kind, group) or (group is None and theirs.subject != who.subject):
            return Requestable(kind, name, group, problem=f"the name {name.label} belongs to somebody else")
        return Requestable(kind, name, group, exists=True)
