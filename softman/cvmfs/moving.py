"""Moving entries to other paths, also from one catalog to another.

A directory is moved entry by entry: every row is filed under the hash of its whole path, so all of them change anyway.
A nested catalog on the way dissolves, and comes to be again at the new place when the transaction is sealed, by its
marker.
"""

from dataclasses import replace

from softman.cvmfs.editor import BATCH, Editor
from softman.cvmfs.entries import check_movable
from softman.cvmfs.errors import PathError
from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.paths import check_writable

_STRUCTURE = (Flag.NESTED_MOUNTPOINT | Flag.NESTED_ROOT).value


def move(editor: Editor, entry: Entry, target: bytes) -> None:
    """Move ``entry``, a directory with everything below it, to ``target``; the owner becomes root.

    A file or link there is replaced.

    Raises:
        PathError: ``target`` lies inside ``entry`` or is a directory; a path would be too long; or there is something
            that is not ours to make: special and external files, set-id bits. Nothing was changed then.
    """
    editor.check_place(target)
    there = editor.lookup(target)
    if (target + b"/").startswith(entry.path + b"/"):
        raise PathError(f"{entry.path!r} cannot be moved into itself")
    if there is not None and (there.is_dir or entry.is_dir):
        raise PathError(f"{target!r} is there already")
    _check(editor, entry, target)
    if entry.is_dir:
        _move_directory(editor, entry, target)
    elif there is not None and entry.hardlink_group and there in editor.home(entry.path).group(entry):
        editor.remove(entry)  # two names of one file become one
    else:
        _move_file(editor, entry, target)


def _check(editor: Editor, entry: Entry, target: bytes) -> None:
    _check_one(entry, target)
    pending = [entry] if entry.is_dir else []
    while pending:
        for child in editor.listdir(pending.pop().path):
            _check_one(child, target + child.path[len(entry.path) :])
            if child.is_dir:
                pending.append(child)


def _check_one(entry: Entry, place: bytes) -> None:
    check_movable(entry)
    check_writable(place, is_file=entry.is_file)


def _move_file(editor: Editor, entry: Entry, target: bytes) -> None:
    moved = replace(entry, path=target, uid=0, gid=0)
    if entry.hardlink_group and moved.parent == entry.parent:
        editor.take(entry)
    else:
        moved = replace(moved, hardlink_group=0, linkcount=1)
        editor.remove(entry)
    editor.put(moved)


def _move_directory(editor: Editor, top: Entry, target: bytes) -> None:
    groups: dict[tuple[bytes, int], int] = {}
    _put_directory(editor, top, target)
    pending = [top.path]
    while pending:
        directory = pending[-1]
        children = editor.inside(directory).some_children(directory, BATCH)
        for child in children:
            place = target + child.path[len(top.path) :]
            if child.is_dir:
                _put_directory(editor, child, place)
                pending.append(child.path)
                continue
            editor.inside(directory).discard(child)
            group = child.hardlink_group
            if group:
                key = (directory, group)
                if key not in groups:
                    groups[key] = editor.home(place).new_group()
                group = groups[key]
            editor.put(replace(child, path=place, uid=0, gid=0, hardlink_group=group))
        if not children:
            pending.pop()
            editor.unmount(directory)
            emptied = editor.home(directory).lookup(directory)
            if emptied is not None:
                editor.home(directory).discard(emptied)
    editor.forget_directories()


def _put_directory(editor: Editor, entry: Entry, place: bytes) -> None:
    editor.put(replace(entry, path=place, uid=0, gid=0, linkcount=2, flags=entry.flags & ~_STRUCTURE))
