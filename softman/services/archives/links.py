"""Symbolic links of an archive: none may lead out of the tree that it unpacks to.

A target is refused when it is absolute, when ``..`` leads above the tree, and when it has a variable that CVMFS clients
replace from their environment (``$(NAME:-default)``; ``ExpandSymlink`` in ``cvmfs/catalog_sql.cc``). Nothing is below a
link in an archive, so the ``..`` that a target begins with go from real directory to real directory. Those that come
later may follow a link: they are looked at when the whole tree is known.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

LEADS_OUT: Final = "is a symbolic link that leads out of the archive"
ASTRAY: Final = "is a symbolic link that leads out of the archive, or in circles"
_MAX_TARGET = 4095
_MAX_HOPS = 40
"""So many links the kernel of a client follows."""


class Verdict(Enum):
    """What can be said about a link by its target alone."""

    INSIDE = "stays inside"
    LATER = "depends on the rest of the tree"


class LinksTooEntangled(Exception):
    """Following the links of an archive takes more steps than anybody's software needs."""


def judge_link(path: bytes, target: bytes) -> Verdict | str:
    """Whether the link at ``path`` stays inside the tree.

    Args:
        path: relative to the tree, normal.
        target: verbatim.

    Returns:
        A verdict, or why it is refused.
    """
    if not 0 < len(target) <= _MAX_TARGET or b"\0" in target:
        return f"is a symbolic link whose target has {len(target)} bytes, or a NUL; 1 to {_MAX_TARGET} are possible"
    if target.startswith(b"/"):
        return "is a symbolic link to an absolute path"
    if b"$(" in target:
        return "is a symbolic link with a variable of CVMFS in its target"
    names = [name for name in target.split(b"/") if name not in {b"", b"."}]
    up = next((at for at, name in enumerate(names) if name != b".."), len(names))
    if up > path.count(b"/"):
        return LEADS_OUT
    return Verdict.LATER if b".." in names[up:] else Verdict.INSIDE


class LinkWalker:
    """Follows links through the whole tree, as a client would.

    Args:
        target_of: the target of the link at a path of the tree; None when something else or nothing is there.
        steps: how many components of paths may be looked at in all.
    """

    def __init__(self, target_of: Callable[[bytes], bytes | None], steps: int) -> None:
        self._target_of = target_of
        self._steps = steps

    def stays_inside(self, path: bytes) -> bool:
        """Whether the link at ``path`` leads somewhere inside, and nowhere outside on the way.

        Raises:
            LinksTooEntangled: there were too many steps.
        """
        at: list[bytes] = path.split(b"/")[:-1]
        pending = _reversed_names(self._target_of(path) or b"")
        hops = 1
        while pending:
            self._steps -= 1
            if self._steps < 0:
                raise LinksTooEntangled
            name = pending.pop()
            if name == b"..":
                if not at:
                    return False
                at.pop()
                continue
            target = self._target_of(b"/".join([*at, name]))
            if target is None:
                at.append(name)
                continue
            hops += 1
            if hops > _MAX_HOPS:
                return False
            pending += _reversed_names(target)
        return True


def _reversed_names(target: bytes) -> list[bytes]:
    return [name for name in reversed(target.split(b"/")) if name not in {b"", b"."}]
