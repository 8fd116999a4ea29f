"""Where embedded stacks live that people start by hand, and how commands find the one that runs."""

from pathlib import Path

from softman.errors import Forbidden, NotFound
from softman.settings import user_state_dir
from softman.standalone.stack import Stack


def stack_directory() -> Path:
    """Where ``softman up`` starts a stack when nothing else is said."""
    return user_state_dir() / "stack"


def demo_directory() -> Path:
    """Where ``softman demo --keep`` leaves its stack."""
    return user_state_dir() / "demo"


def running_stack() -> Stack | None:
    """The stack that ``softman up`` or ``softman demo --keep`` started and that still runs, the former first."""
    for directory in (stack_directory(), demo_directory()):
        try:
            stack = Stack.attach(directory)
        except (NotFound, Forbidden):
            continue
        if is_running(stack):
            return stack
    return None


def is_running(stack: Stack) -> bool:
    """Whether any server of the stack runs."""
    return any(server.alive() for server in stack.servers.values())
