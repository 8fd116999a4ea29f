"""``softman doctor``: is everything there that softman needs, and if not, what to do."""

import click

from softman.cli.exitcodes import UNHEALTHY
from softman.cli.output import printable
from softman.cli.session import Session, common_options, pass_session
from softman.doctor.examination import AREAS, examine, worst
from softman.doctor.finding import Finding, Health

_COLOURS = {Health.FINE: "green", Health.UNKNOWN: "cyan", Health.WARNING: "yellow", Health.BROKEN: "red"}


@click.command()
@click.argument("areas", nargs=-1, type=click.Choice(list(AREAS)), metavar="[AREA]...")
@click.option("--all", "everything", is_flag=True, help="Show what is fine, too.")
@common_options
@pass_session
def doctor(session: Session, areas: tuple[str, ...], *, everything: bool) -> None:
    """Look at every service, permission, clock, disk, queue and repository, and say how to repair what is wrong.

    AREA is one of host, broker, cache, vault, buckets, workers, repositories; all of them when none is given. Looks
    with the credentials of this process's settings, so run it on each host as the user that softman runs as. Nothing is
    changed. The exit code is 6 when something is broken.
    """
    findings = []
    for finding in examine(session.backend.settings, areas):
        findings.append(finding)
        if session.as_json:
            session.output.record(finding)
        elif everything or finding.health is not Health.FINE:
            _show(finding)
    if not session.as_json:
        _sum_up(findings)
    if worst(findings) is Health.BROKEN:
        click.get_current_context().exit(UNHEALTHY)


def _show(finding: Finding) -> None:
    label = click.style(f"{finding.health.value:<8}", fg=_COLOURS[finding.health])
    click.echo(f"{label} {finding.area:<13} {printable(finding.what)}")
    if finding.repair:
        click.echo(f"{'':<23}-> {printable(finding.repair)}")


def _sum_up(findings: list[Finding]) -> None:
    counts = {health: sum(finding.health is health for finding in findings) for health in Health}
    words = [f"{count} {health.value}" for health, count in counts.items() if count]
    click.echo(f"looked at {len(findings)} things: {', '.join(words)}")
