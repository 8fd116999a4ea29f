"""What the dashboard looks at, built from settings: as in ``softman.wiring``, but nobody waits long for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from softman import wiring
from softman.adapters.circuit import Circuit, guarded
from softman.adapters.clockwork import RedisClockwork
from softman.adapters.glances import RedisGlances
from softman.adapters.pending import RedisPendingKeys
from softman.adapters.ports import Clockwork, Glances, PendingKeys, Records, Registry, TurnStates
from softman.adapters.records import RedisRecords
from softman.adapters.redis_client import redis_client
from softman.adapters.turn_states import RedisTurnStates
from softman.cvmfs.reader import RepositoryReader
from softman.names import RepositoryName
from softman.services.remembering import remembered
from softman.services.status import Status
from softman.settings import Settings

_SECONDS: Final = 1.0
"""How long Redis may take to answer a person."""
_KEY_SECONDS: Final = 300.0
"""How long public keys are used without asking again; longer while the vault does not answer."""


@dataclass(frozen=True)
class Views:
    """What the dashboard looks at, each asked through a circuit of its own, with times that a person can wait."""

    registry: Registry
    glances: Glances
    records: Records
    pending: PendingKeys
    states: TurnStates
    status: Status
    open_reader: Callable[[RepositoryName], RepositoryReader]
    public_keys: Callable[[RepositoryName], tuple[bytes, ...]]
    beats: Callable[[], Mapping[str, float]]


def views(settings: Settings) -> Views:
    """What the dashboard looks at."""
    registry = wiring.registry(settings)
    url, ca_file = settings.redis_url.get_secret_value(), settings.tls.ca_file
    client = redis_client(url, ca_file, timeout=_SECONDS, retries=1)
    circuit = Circuit("Redis")
    seen_records: Records = guarded(RedisRecords(client), circuit)
    seen_pending: PendingKeys = guarded(RedisPendingKeys(client), circuit)
    states: TurnStates = guarded(RedisTurnStates(client), circuit)
    beats: Clockwork = guarded(RedisClockwork(client), circuit)
    keys = remembered(lambda name: wiring.public_keys(settings, name), _KEY_SECONDS)

    def open_reader(name: RepositoryName) -> RepositoryReader:
        return wiring.reader_with(settings, name, keys(name), wiring.scratch(settings))

    return Views(
        registry=registry,
        glances=guarded(RedisGlances(client), circuit),
        records=seen_records,
        pending=seen_pending,
        states=states,
        status=Status(
            registry, seen_records, seen_pending, settings.cvmfs.url, open_reader, states=states, clockwork=beats
        ),
        open_reader=open_reader,
        public_keys=keys,
        beats=beats.beats,
    )
