"""What Redis says of many repositories, in one round trip for each ``_PORTION`` of them. Only reads."""

from collections.abc import Sequence
from typing import Any

import redis

from softman.adapters.errormap import translated
from softman.adapters.records import read_links, read_progress, read_report
from softman.adapters.redis_client import REDIS_TABLE, key_name
from softman.adapters.turn_states import read_failure
from softman.model import Glance
from softman.names import RepositoryName

_PORTION = 200


class RedisGlances:
    """``Glances`` in Redis.

    Args:
        client: from ``redis_client``, answering in bytes.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def read(self, repositories: Sequence[RepositoryName]) -> list[Glance]:
        """See ``Glances``."""
        found: list[Glance] = []
        for first in range(0, len(repositories), _PORTION):
            found += self._portion(repositories[first : first + _PORTION])
        return found

    def _portion(self, repositories: Sequence[RepositoryName]) -> list[Glance]:
        with translated(REDIS_TABLE, "read how repositories stand"):
            pipeline = self._client.pipeline(transaction=False)
            for repository in repositories:
                pipeline.hgetall(key_name(repository, "links"))
                pipeline.scard(key_name(repository, "pending"))
                pipeline.scard(key_name(repository, "flight"))
                pipeline.hlen(key_name(repository, "refusals"))
                pipeline.get(key_name(repository, "progress"))
                pipeline.lindex(key_name(repository, "reports"), 0)
                pipeline.get(key_name(repository, "failure"))
            answers: list[Any] = pipeline.execute()
        size = len(answers) // max(len(repositories), 1)
        return [_glance(*answers[first : first + size]) for first in range(0, len(answers), size)]


def _glance(links: Any, pending: int, flight: int, refusals: int, progress: Any, report: Any, failure: Any) -> Glance:  # noqa: PLR0917 - the answers in order
    return Glance(
        tuple(read_links(links)),
        pending + flight,
        refusals,
        read_progress(progress),
        read_report(report),
        read_failure(failure),
    )
