"""Commands about the embedded stack: start it, stop it, say how to reach it."""

import shlex
import time
from pathlib import Path
from typing import Literal

import click

from softman.cli.output import Output
from softman.cli.places import is_running, running_stack, stack_directory
from softman.cli.session import Session, common_options, pass_session
from softman.errors import Busy, NotFound
from softman.names import check_label
from softman.standalone.identity_provider import PEOPLE
from softman.standalone.packages import ensure_packages
from softman.standalone.stack import Options, Stack

_directory_option = click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="The stack's directory. [default: softman/stack below the user's state directory]",
)


@click.command()
@_directory_option
@click.option("--domain", default="example.org", show_default=True, help="Repositories are called <label>.<domain>.")
@click.option(
    "--storage",
    type=click.Choice(["file", "s3"]),
    default="file",
    show_default=True,
    help="Store repositories in a folder behind a web server, or in a bucket that clients read.",
)
@click.option("--install", is_flag=True, help="Install Debian packages that are missing (root, or sudo).")
@click.option("--workers/--no-workers", default=True, help="Start our workers, dashboard and Flower too (default).")
@common_options
@pass_session
def up(
    session: Session,
    *,
    directory: Path | None,
    domain: str,
    storage: Literal["file", "s3"],
    install: bool,
    workers: bool,
) -> None:
    """Start RabbitMQ, Redis, Ceph, a web server, a vault and our workers, for development.

    All listen on free loopback ports. The object store keeps its data in memory, as long as it runs.
    """
    ensure_packages(install=install)
    place = directory or stack_directory()
    started = time.monotonic()
    try:
        stack = Stack.start(place, workers=workers, options=Options(domain=domain, storage=storage, dashboard=True))
    except Busy:
        stack = Stack.attach(place)
        if not is_running(stack):
            raise
        _show(session.output, stack, "runs already")
        return
    stack.detach()
    _show(session.output, stack, f"ready after {time.monotonic() - started:.1f} s")


@click.command()
@_directory_option
@click.option("--purge", is_flag=True, help="Also remove its directory, with all data and logs.")
@common_options
@pass_session
def down(session: Session, directory: Path | None, purge: bool) -> None:
    """Stop the embedded stack that "up" or "demo --keep" left running.

    Its directory with the logs stays unless --purge is given. The next "up" starts empty: buckets live in memory.
    """
    stack = _find(directory)
    was_running = stack is not None and is_running(stack)
    if stack is not None:
        stack.stop(purge=purge)
    output = session.output
    if output.as_json:
        output.record({"stopped": was_running, "directory": None if stack is None else str(stack.directory)})
    elif stack is None:
        output.line("nothing runs")
    else:
        what = "stopped" if was_running else "did not run"
        output.line(f"{what}; {stack.directory} is {'removed' if purge else 'kept'}")


@click.command()
@click.option("--user", help="Print the S3 settings of this user instead (AWS_*), who is made when there is none.")
@_directory_option
@common_options
@pass_session
def env(session: Session, directory: Path | None, user: str | None) -> None:
    """Print the settings of the embedded stack for a shell: eval "$(softman env)".

    Other programs then reach it, such as: celery -A softman.app inspect active_queues. With --user alice, S3 clients
    such as the AWS CLI and boto3 act as alice. The values include passwords.
    """
    stack = _find(directory)
    if stack is None or not is_running(stack):
        msg = "no embedded stack runs; start one with: softman up"
        raise NotFound(msg)
    output = session.output
    variables = stack.environment() if user is None else _s3_variables(stack, user)
    if output.as_json:
        output.record(variables)
        return
    for name, value in variables.items():
        output.line(f"export {name}={shlex.quote(value)}")


def _s3_variables(stack: Stack, user: str) -> dict[str, str]:
    keys = stack.create_s3_user(check_label(user, stack.domain))
    return {
        "AWS_ENDPOINT_URL": stack.s3_endpoint,
        "AWS_DEFAULT_REGION": stack.settings().s3.region,
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
    }


def _find(directory: Path | None) -> Stack | None:
    if directory is not None:
        return Stack.attach(directory)
    stack = running_stack()
    if stack is not None:
        return stack
    try:
        return Stack.attach(stack_directory())
    except NotFound:
        return None


def _show(output: Output, stack: Stack, headline: str) -> None:
    flower, dashboard = stack.flower, stack.dashboard
    if output.as_json:
        output.record(
            {
                "directory": str(stack.directory),
                "versions": stack.versions(),
                "not_running": stack.down(),
                "flower": None if flower is None else flower.url,
                "dashboard": None if dashboard is None else dashboard.url,
            }
        )
        return
    output.line(f"the embedded stack {headline}: {', '.join(f'{k} {v}' for k, v in stack.versions().items())}")
    facts = [
        ("object store", stack.s3_endpoint),
        ("repositories", stack.web_url),
        ("directory", f"{stack.directory} (logs in log/)"),
    ]
    if dashboard is not None:
        people = ", ".join(PEOPLE) if dashboard.issuer else "nobody: pip install oidc-provider-mock"
        facts.append(("dashboard", f"{dashboard.url} (log in as {people}; no password)"))
    if flower is not None:
        facts.append(("Flower", f"{flower.url} (user softman, password {flower.password})"))
    if stack.down():
        facts.append(("NOT running", ", ".join(stack.down())))
    output.facts(facts)
    output.line("ask for a repository: softman request alice    stop it: softman down")
