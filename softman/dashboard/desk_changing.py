"""The desk, changing: wishes of a person for repositories. Each is handed to the workers, or kept until they can be."""

from collections.abc import Mapping

from softman.dashboard.desk_base import BaseDesk
from softman.dashboard.desk_views import Receipt
from softman.errors import Conflict, InvalidInput, NameTaken
from softman.identity import Principal
from softman.model import PUBLISHED_PREFIX, RegistryRecord, State
from softman.names import Kind, Owner, RepositoryName
from softman.services import authority
from softman.services.authority import Action
from softman.services.lifecycle import checked_quotas
from softman.tasks.catalogue import PROVISION, RESTORE, RESUME, RESYNC, RETIRE, ROLLBACK, SET_QUOTAS, TaskSpec


class ChangingDesk(BaseDesk):
    """Wishes. They raise ``NotFound`` and ``Forbidden`` as ``authority.require`` does."""

    def request(self, who: Principal, kind: Kind, group: str | None = None) -> Receipt:
        """Ask for the person's own repository, or that of a group; asking again completes what was left half done.

        Args:
            who: the person.
            kind: personal or of a group.
            group: the group's name; None for a personal one.

        Raises:
            InvalidInput: no repository can be called so.
            Forbidden: the person is no member of the group.
            NameTaken: the name belongs to somebody else.
        """
        if kind is Kind.GROUP and group is not None:
            authority.require_member(who, group)
        owner = Owner(who.user, who.subject, kind, group)
        name = RepositoryName(owner.label, self._services.domain)
        known = self._services.roster.get(name)
        if known is not None and not _same(known.record.owner, owner):
            msg = f"the name {name.label} belongs to somebody else; ask an administrator for another one"
            raise NameTaken(msg)
        return self._wish(who, name, PROVISION, owner.user, owner.subject, kind.value, group)

    def resync(
        self, who: Principal, name: RepositoryName, prefix: str | None = None, *, verify: bool = False
    ) -> Receipt:
        """Compare a repository with its bucket, now.

        Args:
            who: the person.
            name: the repository.
            prefix: only keys that begin so, ``cvmfs/`` included.
            verify: read every object again.

        Raises:
            InvalidInput: the prefix is not one of published keys.
        """
        self._active(who, name, Action.RESYNC)
        if prefix is not None and not prefix.startswith(PUBLISHED_PREFIX):
            msg = f"{prefix[:80]!r} is no prefix of published keys: they begin with {PUBLISHED_PREFIX}"
            raise InvalidInput(msg)
        return self._wish(who, name, RESYNC, str(name), prefix, verify)

    def roll_back(self, who: Principal, name: RepositoryName, revision: int) -> Receipt:
        """Show an earlier revision again; what is in the bucket is not published until somebody resumes that.

        Raises:
            Conflict: the repository is not active, or the revision is the current one.
            NotFound: there is no such revision any more.
        """
        self._active(who, name, Action.ROLL_BACK)
        if revision == self._services.browser.head(name).revision:
            msg = f"{name} shows revision {revision} already"
            raise Conflict(msg)
        self._services.browser.entry(name, b"", revision=revision)
        return self._wish(who, name, ROLLBACK, str(name), revision)

    def resume(self, who: Principal, name: RepositoryName) -> Receipt:
        """End the pause after a roll-back.

        Raises:
            Conflict: nothing is paused.
        """
        if self._active(who, name, Action.ROLL_BACK).pause is None:
            msg = f"{name} is not paused"
            raise Conflict(msg)
        return self._wish(who, name, RESUME, str(name))

    def retire(self, who: Principal, name: RepositoryName, *, keep_content: bool = True) -> Receipt:
        """Give a repository up. For a while it can be restored; its name is not given away.

        Args:
            who: the person.
            name: the repository.
            keep_content: let clients go on reading it.

        Raises:
            Conflict: it is retired already.
        """
        if self._seen(who, name, Action.RETIRE).record.state is State.RETIRED:
            msg = f"{name} is retired already"
            raise Conflict(msg)
        return self._wish(who, name, RETIRE, str(name), keep_content)

    def restore(self, who: Principal, name: RepositoryName) -> Receipt:
        """Take a retirement back.

        Raises:
            Conflict: it is not retired.
        """
        if self._seen(who, name, Action.RESTORE).record.state is not State.RETIRED:
            msg = f"{name} is not retired"
            raise Conflict(msg)
        return self._wish(who, name, RESTORE, str(name))

    def set_quotas(self, who: Principal, name: RepositoryName, quotas: Mapping[str, object]) -> Receipt:
        """Set what a repository may hold.

        Args:
            who: an administrator.
            name: the repository.
            quotas: new values by the names of ``Quotas``; others stay.

        Raises:
            InvalidInput: there is no such quota, or a value makes no sense.
        """
        self._seen(who, name, Action.SET_QUOTAS)
        return self._wish(who, name, SET_QUOTAS, str(name), dict(checked_quotas(quotas)))

    def _active(self, who: Principal, name: RepositoryName, action: Action) -> RegistryRecord:
        record = self._seen(who, name, action).record
        if record.state is not State.ACTIVE:
            msg = f"{name} is {record.state.value}: that is possible while it is active"
            raise Conflict(msg)
        return record

    def _wish(self, who: Principal, name: RepositoryName, task: TaskSpec, *arguments: object) -> Receipt:
        task_id, queued = self._services.wishes.send(task.name, arguments, requested_by=who.user)
        self._services.roster.want(name)
        return Receipt(task_id, name, queued)


def _same(one: Owner, other: Owner) -> bool:
    """Whether two are the same: a person by the subject of the login, a group by its name."""
    return one.kind is other.kind and (one.group == other.group if one.group else one.subject == other.subject)
