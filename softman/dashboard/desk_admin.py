"""The desk, for administrators: everything that is there, workers, queues, dead letters, and whether parts answer."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait

from softman.dashboard.desk_base import BaseDesk
from softman.dashboard.desk_views import Health, Overview, Page, Part, Queue, Repository
from softman.errors import SoftmanError
from softman.identity import Principal
from softman.log import get_logger
from softman.model import DeadLetter, QueueDepth, WorkerState
from softman.names import RepositoryName
from softman.services import authority
from softman.services.deadletters import Selection

MAX_LETTERS = 500
"""Dead letters that are shown, the oldest first."""
_HEALTH_SECONDS = 3.0
"""How long all parts together may take to answer, and for how long that is believed."""
_log = get_logger(__name__)


class AdminDesk(BaseDesk):
    """Questions and wishes of administrators. Everybody else gets ``Forbidden``."""

    def all_repositories(
        self, who: Principal, after: RepositoryName | None = None, limit: int = 100, search: str = ""
    ) -> Page[Repository]:
        """A page of all repositories, by name; with ``search`` those that have it in their name or their owner's."""
        authority.require_admin(who)
        roster = self._services.roster
        known = roster.after(after, limit + 1, search)
        described, missing = self._described(who, known[:limit])
        more = str(known[limit - 1].record.repository) if len(known) > limit else None
        return Page(described, more, missing, roster.listed_at)

    def overview(self, who: Principal) -> Overview:
        """How the service stands as a whole."""
        authority.require_admin(who)
        services = self._services
        try:
            concerns = tuple(services.status.concerns())
        except SoftmanError:
            concerns = ()
        return Overview(
            self.health(), concerns, len(services.roster), services.wishes.waiting(), services.roster.listed_at
        )

    def queues(self, who: Principal) -> Page[Queue]:
        """Every queue with what waits in it."""
        authority.require_admin(who)
        try:
            found = self._services.operations.queues()
        except SoftmanError:
            return Page((), missing=(Part.BROKER,))
        return Page(tuple(self._queue(each) for each in found))

    def workers(self, who: Principal) -> Page[WorkerState]:
        """The workers that answer within a second or so."""
        authority.require_admin(who)
        try:
            found = self._services.operations.workers()
        except SoftmanError:
            return Page((), missing=(Part.BROKER,))
        return Page(tuple(found))

    def dead_letters(self, who: Principal) -> Page[DeadLetter]:
        """Messages that nobody could work on, oldest first; the first ``MAX_LETTERS`` of them."""
        authority.require_admin(who)
        try:
            found = self._services.dead_letters.find(Selection())
        except SoftmanError:
            return Page((), missing=(Part.BROKER,))
        return Page(tuple(found[:MAX_LETTERS]))

    def requeue(self, who: Principal, id_: str) -> DeadLetter:
        """Put a dead letter back to the queue that it came from.

        Raises:
            NotFound: there is none of that id.
            InvalidInput: its queue is not known, or the id stands for several.
        """
        authority.require_admin(who)
        letter = self._services.dead_letters.show(id_)
        self._services.dead_letters.requeue(Selection(ids=(letter.id,)), _ignore)
        _log.info("dead letter is put back", letter=letter.id, queue=letter.queue, requested_by=who.user)
        return letter

    def discard(self, who: Principal, id_: str) -> DeadLetter:
        """Throw a dead letter away; errors as for ``requeue``."""
        authority.require_admin(who)
        letter = self._services.dead_letters.show(id_)
        self._services.dead_letters.discard(Selection(ids=(letter.id,)), _ignore)
        _log.info("dead letter is thrown away", letter=letter.id, queue=letter.queue, requested_by=who.user)
        return letter

    def health(self) -> tuple[Health, ...]:
        """Whether each part answers. All are asked at once, within ``_HEALTH_SECONDS``, and not more often."""
        with self._health_lock:
            at, found = self._health
            if self._services.clock() - at > _HEALTH_SECONDS:
                found = _asked(self._services.checks)
                self._health = (self._services.clock(), found)
        return found

    def _queue(self, depth: QueueDepth) -> Queue:
        name, messages = depth.name, depth.messages
        if not messages:
            self._waiting_since.pop(name, None)
            return Queue(name, messages, depth.consumers)
        since = self._waiting_since.setdefault(name, self._services.clock())
        return Queue(name, messages, depth.consumers, since)


def _ignore(_letter: DeadLetter) -> None:
    pass


def _asked(checks: Mapping[Part, Callable[[], str]]) -> tuple[Health, ...]:
    pool = ThreadPoolExecutor(max_workers=max(len(checks), 1), thread_name_prefix="health")
    asked = {part: pool.submit(_ask, part, check) for part, check in checks.items()}
    wait(asked.values(), timeout=_HEALTH_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    late = f"no answer within {_HEALTH_SECONDS:.0f} s"
    return tuple(
        future.result() if future.done() else Health(part, answers=False, detail=late, seconds=_HEALTH_SECONDS)
        for part, future in asked.items()
    )


def _ask(part: Part, check: Callable[[], str]) -> Health:
    began = time.monotonic()
    try:
        said, answers = check(), True
    except Exception as exc:  # noqa: BLE001 - whatever it is, the part does not answer as it should
        said, answers = str(exc), False
    return Health(part, answers, said, time.monotonic() - began)
