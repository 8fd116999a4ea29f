"""The command ``softman demo``: starts a stack, lets the story happen, cleans up whatever happens."""

import shutil
import signal
import sys
import time
from pathlib import Path

import click

from softman.cli.demo import story
from softman.cli.demo.narrator import Narrator
from softman.cli.places import demo_directory, is_running
from softman.cli.session import Session, common_options, pass_session
from softman.errors import Busy, NotFound
from softman.log import configure_logging
from softman.standalone.packages import ensure_packages
from softman.standalone.record import prepare_directory
from softman.standalone.signals import signals_interrupt
from softman.standalone.stack import Options, Stack


@click.command()
@click.option("--keep", is_flag=True, help='Leave everything running at the end, for "softman status" and the like.')
@click.option("--install", is_flag=True, help="Install Debian packages that are missing (root, or sudo).")
@common_options
@pass_session
def demo(session: Session, keep: bool, install: bool) -> None:
    """Show the main job live, on real servers: from a request to files in a repository.

    Takes a minute or two and half a gigabyte of memory. Everything is in one directory, and removed at the end.
    """
    configure_logging(level="WARNING")  # the story asks the services in this process, whose log is none of the output
    narrator = Narrator(session.output)
    ensure_packages(install=install)
    with signals_interrupt():
        # Known before anything runs: an interruption at any moment finds what to stop.
        directory = _fresh_demo_directory() if keep else prepare_directory(None)
        stack = None
        finished = False
        try:
            stack = _start(narrator, directory)
            story.start_workers(stack, narrator, pages=keep)
            story.tell(story.Story(stack, narrator))
            _look_next(narrator, stack, keep=keep)
            finished = True
        finally:
            _end(narrator, directory, stack, keep=keep and finished)


def _start(narrator: Narrator, directory: Path) -> Stack:
    narrator.chapter("The servers")
    narrator.say("starting RabbitMQ, Redis, Ceph, a web server and a vault on free loopback ports ...")
    started = time.monotonic()
    stack = Stack.start(directory, options=Options(users=(story.USER,)))
    took = time.monotonic() - started
    versions = stack.versions()
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    narrator.report("stack", f"up after {took:.1f} s: {shown}", seconds=took, versions=versions)
    return stack


def _look_next(narrator: Narrator, stack: Stack, *, keep: bool) -> None:
    narrator.chapter("Where to look next")
    softman = _command_name()
    if not keep:
        narrator.say(f"{softman} demo --keep    the same, left running with Flower, logs and commands to look at it")
        narrator.say(f"{softman} up             an empty stack to play with")
        narrator.say(f"{softman} --help         all commands; docs/ has the rest")
        return
    flower, dashboard = stack.flower, stack.dashboard
    if dashboard is not None:
        narrator.say(f"dashboard {dashboard.url}  (log in as {story.USER} or admin; no password)")
    if flower is not None:
        narrator.say(f"Flower    {flower.url}  (user softman, password {flower.password})")
    narrator.say(f"logs      {stack.directory / 'log'}")
    for arguments in (f"status {story.USER}", f"ls -l {story.USER} /", f"log {story.USER}", "request bob"):
        narrator.say(f"command   {softman} {arguments}")
    narrator.say(
        f'Celery    eval "$({softman} env)"; {softman.removesuffix("softman")}celery -A softman.app inspect stats'
    )


def _end(narrator: Narrator, directory: Path, stack: Stack | None, *, keep: bool) -> None:
    if keep and stack is not None:
        stack.detach()
        narrator.say(f"everything is left running; stop it with: {_command_name()} down --purge")
        narrator.report("kept", f"directory {directory}", directory=str(directory))
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
    try:
        started = time.monotonic()
        _remove(directory, stack)
        took = time.monotonic() - started
    finally:
        signal.signal(signal.SIGINT, previous)
    narrator.chapter("The end")
    text = f"everything is stopped and {directory} is removed ({took:.1f} s)"
    narrator.report("end", text, directory=str(directory), seconds=took)


def _remove(directory: Path, stack: Stack | None) -> None:
    try:
        (stack or Stack.attach(directory)).stop(purge=True)
    except NotFound:  # nothing was started yet
        shutil.rmtree(directory, ignore_errors=True)


def _command_name() -> str:
    """How this person calls ``softman``: by name, or by its place when that is not on their PATH."""
    place = Path(sys.executable).with_name("softman")
    found = shutil.which("softman")
    if found is not None and Path(found).samefile(place):
        return "softman"
    here = Path.cwd()
    return str(place.relative_to(here) if place.is_relative_to(here) else place)


def _fresh_demo_directory() -> Path:
    """Where a kept demo lives; what an earlier one left there, stopped, is removed."""
    directory = demo_directory()
    try:
        former = Stack.attach(directory)
    except NotFound:
        return directory
    if is_running(former):
        stop = f"{_command_name()} down --purge --directory {directory}"
        msg = f"an earlier demo still runs in {directory}; stop it with: {stop}"
        raise Busy(msg)
    former.stop(purge=True)
    return directory
