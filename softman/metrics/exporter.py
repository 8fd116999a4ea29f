"""The exporter: one small server that Prometheus asks. What it shows is no secret; it listens on loopback by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from softman.metrics.gathered import gather
from softman.metrics.observed import Observer
from softman.services.roster import Roster


class _Counted(MultiProcessCollector):
    """What the processes of this host counted, with those that are no more."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        super().__init__(None, str(directory))  # type: ignore[no-untyped-call]  # it has no types

    def collect(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as in prometheus_client
        gather(self._directory)
        return super().collect()  # type: ignore[no-untyped-call]  # it has no types


@contextmanager
def exporter(
    directory: Path, host: str, port: int, observer: Observer | None = None, roster: Roster | None = None
) -> Iterator[int]:
    """Serve ``/metrics`` while the block runs.

    Args:
        directory: where the processes of this host count; made when it is not there.
        host: to listen on.
        port: likewise; 0 for any.
        observer: what observes the whole service; None for what this host counted alone.
        roster: started with it, and ended.

    Yields:
        The port.

    Raises:
        OSError: the port is taken.
    """
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    registry = CollectorRegistry()
    registry.register(_Counted(directory))
    if observer is not None:
        registry.register(observer)
    server, thread = start_http_server(port, host, registry)
    if roster is not None:
        roster.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
        if roster is not None:
            roster.close()
