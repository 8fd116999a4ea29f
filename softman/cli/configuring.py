"""``softman config``: what the settings are, and whether they are right."""

import click

from softman.cli.output import warn
from softman.cli.session import Session, common_options, pass_session


@click.group()
def config() -> None:
    """Show and check settings; secrets are never shown."""


@config.command()
@click.option("--changed", is_flag=True, help="Only those that are not as they come.")
@common_options
@pass_session
def show(session: Session, *, changed: bool) -> None:
    """Show every setting with its present value."""
    from softman.settings_reference import sections  # noqa: PLC0415 - reads sources, and few need it

    for section in sections(session.backend.settings):
        for each in section.settings:
            if changed and not each.changed:
                continue
            if session.as_json:
                session.output.record(each)
            else:
                session.output.line(f"{each.name} = {each.value}")


@config.command()
@common_options
@pass_session
def check(session: Session) -> None:
    """Say whether the settings are right; nothing is connected to. "softman doctor" does that."""
    settings = session.backend.settings
    for name, host in settings.in_plain_text.items():
        warn(f"{name} leads to {host} in plain text, as tls.allow_plaintext lets it")
    if session.as_json:
        session.output.record({"valid": True, "plain_text": dict(settings.in_plain_text)})
    else:
        session.output.line("the settings are valid")


@config.command()
@common_options
@pass_session
def reference(session: Session) -> None:
    """Print the page that describes every setting."""
    from softman.settings_reference import reference  # noqa: PLC0415 - reads sources, and few need it

    if session.as_json:
        session.output.record({"page": reference()})
    else:
        click.echo(reference(), nl=False)
