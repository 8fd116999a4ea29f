"""``softman exporter``: what Prometheus asks."""

import signal
import threading

import click

from softman.cli.session import Session, common_options, pass_session


@click.command()
@click.option("--host", help="The address to listen on, instead of that of the settings.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port likewise; 0 for any.")
@click.option(
    "--service/--no-service",
    default=True,
    help="Observe the service as a whole, too (default); one exporter of a site should, with the dashboard's role.",
)
@click.option("--list", "listed", is_flag=True, help="Print the page that describes every metric, and end.")
@common_options
@pass_session
def exporter(session: Session, *, host: str | None, port: int | None, service: bool, listed: bool) -> None:
    """Serve metrics for Prometheus at /metrics until it is stopped: what the workers of this host counted, and more.

    Run one on each host, as the user that the workers run as.
    """
    if listed:
        from softman.metrics.names import METRICS, page  # noqa: PLC0415 - only here

        for each in METRICS if session.as_json else ():
            session.output.record(each)
        if not session.as_json:
            click.echo(page(), nl=False)
        return
    _serve(session, host, port, service=service)


def _serve(session: Session, host: str | None, port: int | None, *, service: bool) -> None:
    from softman import wiring  # noqa: PLC0415 - slow to import
    from softman.metrics.counted import FOLDER  # noqa: PLC0415 - same
    from softman.metrics.exporter import exporter as serve  # noqa: PLC0415 - same
    from softman.metrics.observed import Observer  # noqa: PLC0415 - same

    settings = session.backend.settings
    roster = wiring.roster(settings) if service else None
    observer = Observer(settings, roster) if roster is not None else None
    where = host or settings.metrics.listen_host
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    chosen = settings.metrics.listen_port if port is None else port
    with serve(settings.state_dir / FOLDER, where, chosen, observer, roster) as bound:
        if session.as_json:
            session.output.record({"host": where, "port": bound})
        else:
            session.output.line(f"metrics at http://{where}:{bound}/metrics; Ctrl-C stops it")
        stopped.wait()
