"""Progress, reports and refusals in Redis, as JSON.

====================================== ===== =============================================== =============
key                                    type  holds                                           lives
====================================== ===== =============================================== =============
``softman:{<repository>}:links``       hash  link -> how it stands                           ``KEEP_DAYS``
``softman:{<repository>}:reports``     list  the last ``MAX_REPORTS`` syncs, newest first    ``KEEP_DAYS``
``softman:{<repository>}:faults``      text  what is missing or damaged in the storage       ``KEEP_DAYS``
``softman:{<repository>}:progress``    text  how far the sync under way is                   ten minutes
``softman:{<repository>}:refusals``    hash  key -> reason and ETag, ``MAX_REFUSALS`` at most ``KEEP_DAYS``
====================================== ===== =============================================== =============

Each life starts again with every change. A refusal that finds no room is looked at again by every full sync, which
costs a request, nothing else. Of the refusals of a sync the first ``MAX_REPORTED`` are kept with it. Texts are cut, so
that a repository needs some 15 MiB in the worst case.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any

import redis

from softman.adapters.errormap import translated
from softman.adapters.redis_client import REDIS_TABLE, key_name, to_bytes, to_text
from softman.model import AnyLink, Fault, Link, LinkProgress, LinkState, Refusal, SyncProgress, SyncReport
from softman.names import RepositoryName

KEEP_DAYS = 90
MAX_REFUSALS = 10_000
MAX_REPORTS = 50
MAX_FAULTS = 100
MAX_REPORTED = 20
"""Refusals that stay in a stored report; all of them are in ``refusals``."""
MAX_TEXT = 500
"""Characters of a reason or detail."""
PROGRESS_SECONDS = 600
"""How long progress is believed in that nobody renews: its worker died."""
_KEEP_SECONDS = KEEP_DAYS * 24 * 3600

_SET_REFUSALS = """
local first = 4
if ARGV[3] == 'all' then
  redis.call('DEL', KEYS[1])
else
  for each = first, first + tonumber(ARGV[3]) - 1 do redis.call('HDEL', KEYS[1], ARGV[each]) end
  first = first + tonumber(ARGV[3])
end
local room = tonumber(ARGV[1]) - redis.call('HLEN', KEYS[1])
for each = first, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[each]) == 1 then
    redis.call('HSET', KEYS[1], ARGV[each], ARGV[each + 1])
  elseif room > 0 then
    redis.call('HSET', KEYS[1], ARGV[each], ARGV[each + 1])
    room = room - 1
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 0
"""


class RedisRecords:
    """``Records`` in Redis. What is in it that cannot be read counts as lost.

    Args:
        client: from ``redis_client``, answering in bytes.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._set_refusals = client.register_script(_SET_REFUSALS)

    def set_link(self, repository: RepositoryName, progress: LinkProgress) -> None:
        """See ``Records.set_link``."""
        name = key_name(repository, "links")
        value = json.dumps([progress.state, progress.at, progress.detail[:MAX_TEXT]])
        with translated(REDIS_TABLE, f"record the progress of {repository}"):
            pipeline = self._client.pipeline()
            pipeline.hset(name, str(progress.link), value)
            pipeline.expire(name, _KEEP_SECONDS)
            pipeline.execute()

    def links(self, repository: RepositoryName, chain: type[AnyLink] = Link) -> list[LinkProgress]:
        """See ``Records.links``."""
        with translated(REDIS_TABLE, f"read the progress of {repository}"):
            found: Any = self._client.hgetall(key_name(repository, "links"))
        return read_links(found, chain)

    def set_faults(self, repository: RepositoryName, faults: tuple[Fault, ...]) -> None:
        """See ``Records.set_faults``."""
        name = key_name(repository, "faults")
        kept = [asdict(replace(fault, message=fault.message[:MAX_TEXT])) for fault in faults[:MAX_FAULTS]]
        with translated(REDIS_TABLE, f"record the faults of {repository}"):
            self._client.set(name, json.dumps(kept), ex=_KEEP_SECONDS)

    def faults(self, repository: RepositoryName) -> list[Fault]:
        """See ``Records.faults``."""
        with translated(REDIS_TABLE, f"read the faults of {repository}"):
            value: Any = self._client.get(key_name(repository, "faults"))
        try:
            return [] if value is None else [Fault(**each) for each in json.loads(value)]
        except _UNREADABLE:
            return []

    def set_report(self, report: SyncReport) -> None:
        """See ``Records.set_report``."""
        repository = RepositoryName.parse(report.repository)
        name = key_name(repository, "reports")
        with translated(REDIS_TABLE, f"record the sync of {repository}"):
            pipeline = self._client.pipeline()
            pipeline.lpush(name, json.dumps(asdict(cut_report(report))))
            pipeline.ltrim(name, 0, MAX_REPORTS - 1)
            pipeline.expire(name, _KEEP_SECONDS)
            pipeline.execute()

    def last_report(self, repository: RepositoryName) -> SyncReport | None:
        """See ``Records.last_report``."""
        with translated(REDIS_TABLE, f"read the last sync of {repository}"):
            value: Any = self._client.lindex(key_name(repository, "reports"), 0)
        return read_report(value)

    def reports(self, repository: RepositoryName) -> list[SyncReport]:
        """See ``Records.reports``."""
        with translated(REDIS_TABLE, f"read the syncs of {repository}"):
            found: Any = self._client.lrange(key_name(repository, "reports"), 0, -1)
        # A request that is sent again after a broken connection may have written the same report twice.
        read = (read_report(value) for value, _ in groupby(found))
        return [each for each in read if each is not None]

    def set_progress(self, repository: RepositoryName, progress: SyncProgress | None) -> None:
        """See ``Records.set_progress``."""
        name = key_name(repository, "progress")
        with translated(REDIS_TABLE, f"record the progress of {repository}"):
            if progress is None:
                self._client.delete(name)
            else:
                self._client.set(name, json.dumps(asdict(progress)), ex=PROGRESS_SECONDS)

    def progress(self, repository: RepositoryName) -> SyncProgress | None:
        """See ``Records.progress``."""
        with translated(REDIS_TABLE, f"read the progress of {repository}"):
            value: Any = self._client.get(key_name(repository, "progress"))
        return read_progress(value)

    def refusals(self, repository: RepositoryName) -> list[Refusal]:
        """See ``Records.refusals``."""
        with translated(REDIS_TABLE, f"read the refusals of {repository}"):
            found: Any = self._client.hgetall(key_name(repository, "refusals"))
        read = (_read_refusal(key, value) for key, value in found.items())
        return sorted((each for each in read if each is not None), key=lambda each: each.key)

    def set_refusals(self, repository: RepositoryName, refused: list[Refusal], cleared: frozenset[str] | None) -> None:
        """See ``Records.set_refusals``; of new refusals the first that find room are kept."""
        arguments: list[bytes | str | int] = [MAX_REFUSALS, _KEEP_SECONDS]
        arguments += ["all"] if cleared is None else [len(cleared), *map(to_bytes, cleared)]
        for each in refused:
            arguments += [to_bytes(each.key), json.dumps([each.reason[:MAX_TEXT], each.etag])]
        with translated(REDIS_TABLE, f"record the refusals of {repository}"):
            self._set_refusals(keys=[key_name(repository, "refusals")], args=arguments)


def cut_report(report: SyncReport) -> SyncReport:
    """The report as it is stored: the number of refusals, but only the first of them, their reasons cut."""
    kept = tuple(replace(each, reason=each.reason[:MAX_TEXT]) for each in report.refused[:MAX_REPORTED])
    return replace(report, refused=kept, refusals=len(report.refused))


# Another version of softman may have written what is read: that is as good as lost.
_UNREADABLE = (ValueError, TypeError, KeyError)


def read_links(found: Mapping[bytes, bytes], chain: type[AnyLink] = Link) -> list[LinkProgress]:
    """The links of a chain in a hash that ``set_link`` wrote, in their order."""
    read = (_read_link(link, found.get(str(link).encode())) for link in chain)
    return [each for each in read if each is not None]


def read_progress(value: bytes | None) -> SyncProgress | None:
    """What ``set_progress`` wrote."""
    try:
        return None if value is None else SyncProgress(**json.loads(value))
    except _UNREADABLE:
        return None


def _read_link(link: AnyLink, value: bytes | None) -> LinkProgress | None:
    if value is None:
        return None
    try:
        state, at, detail = json.loads(value)
        return LinkProgress(link, LinkState(state), at, detail)
    except _UNREADABLE:
        return None


def read_report(value: bytes | None) -> SyncReport | None:
    """What ``set_report`` wrote."""
    if value is None:
        return None
    try:
        fields = json.loads(value)
        refused = tuple(Refusal(**each) for each in fields.pop("refused"))
        return SyncReport(**fields, refused=refused)
    except _UNREADABLE:
        return None


def _read_refusal(key: bytes, value: bytes) -> Refusal | None:
    try:
        reason, etag = json.loads(value)
    except _UNREADABLE:
        return None
    return Refusal(to_text(key), reason, etag)
