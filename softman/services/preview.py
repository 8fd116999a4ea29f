"""A dry run: what a sync would do, as far as it can be told without reading any object."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from softman.cvmfs.errors import PathError
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.snapshot import Snapshot
from softman.model import Refusal
from softman.services.mapping import SOURCE_XATTR, Target, is_unpacked, places, source_key
from softman.services.plan import Look, Step, Unmark, Vanished


class Action(StrEnum):
    """What would be done with a key."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"
    REFUSE = "refuse"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of a plan; ``reason`` says why a key would be refused."""

    action: Action
    key: str
    path: str
    reason: str = ""


def preview(steps: Iterable[Step], base: Snapshot) -> Iterator[PlannedStep]:
    """Say what each step would come to.

    Metadata are not known without asking for each object, so an object that only was copied onto itself shows as a
    change, and an archive with ``unpack=false`` as one that is unpacked.
    """
    for step in steps:
        if isinstance(step, Refusal):
            yield PlannedStep(Action.REFUSE, step.key, "", step.reason)
        elif isinstance(step, Unmark):
            yield PlannedStep(Action.CHANGE, "", _text(step.path.rpartition(b"/")[0]), "it needs no catalog of its own")
        elif isinstance(step, Vanished):
            yield PlannedStep(Action.REMOVE, step.target.key, _text(step.target.path))
        elif isinstance(step, Look):
            yield _look(step, base)


def _look(step: Look, base: Snapshot) -> PlannedStep:
    target = step.target
    reason = _lost(target, base)
    if reason is not None:
        return PlannedStep(Action.REFUSE, target.key, _text(target.path), reason)
    shown = any(
        entry is not None and source_key(entry) == target.key and SOURCE_XATTR in entry.xattrs
        for entry in (_entry(base, path) for path in places(target.key))
    )
    action = Action.CHANGE if shown else Action.ADD
    return PlannedStep(Action.VERIFY if shown and step.verify else action, target.key, _text(target.path))


def _lost(target: Target, base: Snapshot) -> str | None:
    entry = None if target.is_directory else _entry(base, target.path)
    if entry is None or (SOURCE_XATTR not in entry.xattrs and not entry.is_dir):
        return None
    path = target.path
    while path := path.rpartition(b"/")[0]:
        above = _entry(base, path)
        if above is not None and is_unpacked(above):
            return None  # a folder takes the place of the archive, with what is in it
    owner = source_key(entry)
    if entry.is_dir and not is_unpacked(entry):
        return "a folder of this name exists too, and the folder wins"
    first = owner.encode(errors="surrogateescape") < target.key.encode(errors="surrogateescape")
    return f"{owner} has the same place in the repository, and comes first" if first else None


def _entry(base: Snapshot, path: bytes) -> Entry | None:
    try:
        return base.lookup(path)
    except PathError:
        return None


def _text(path: bytes) -> str:
    return path.decode(errors="backslashreplace") or "/"
