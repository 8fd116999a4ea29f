"""``softman completion``: what makes a shell complete our commands and options."""

import click
from click.shell_completion import get_completion_class

from softman.cli.session import Session, common_options, pass_session

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_SOFTMAN_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@common_options
@pass_session
def completion(session: Session, shell: str) -> None:
    """Print what lets SHELL complete commands and options: eval "$(softman completion bash)" in ~/.bashrc."""
    kind = get_completion_class(shell)
    if kind is None:
        msg = f"there is no completion for {shell}"
        raise click.UsageError(msg)
    script = kind(click.get_current_context().find_root().command, {}, "softman", VARIABLE).source()
    if session.as_json:
        session.output.record({"shell": shell, "script": script})
    else:
        click.echo(script)
