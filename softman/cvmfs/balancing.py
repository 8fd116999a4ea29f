"""Automatic balancing: catalogs that grow too large are split at directories, those that shrink are merged back.

Like the stock tools: what is split goes down to half the maximum, so that it is not split again the next day; a
directory becomes a catalog only with at least the minimum of entries, so one huge flat directory stays whole; catalogs
whose marker a user set are never merged. Only catalogs that differ from the base are looked at.

Source: ``cvmfs/catalog_balancer_impl.h`` and ``catalog_mgr_rw.cc`` (``FixWeight``) of CernVM-FS 2.12.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from softman.cvmfs.catalog_tree import CatalogTree
from softman.cvmfs.format.catalog_writer import CatalogWriter
from softman.cvmfs.format.entry import Flag
from softman.cvmfs.format.hashes import ContentHash, path_hash
from softman.cvmfs.nesting import Nesting

_MARKERS: Final = 2
"""Files that a directory gets when it becomes an automatic catalog."""
_MOUNTPOINT = (Flag.NESTED_MOUNTPOINT | Flag.BIND_MOUNTPOINT).value

_Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Balance:
    """The limits, in entries of one catalog; the defaults are those of the stock tools.

    Raises:
        ValueError: the minimum is below 3, which every automatic catalog has, or above half the maximum, in which case
            nothing could be split.
    """

    max_weight: int = 100_000
    """A catalog with more is split, as far as its directories allow."""
    min_weight: int = 1000
    """An automatic catalog with fewer is merged."""

    def __post_init__(self) -> None:
        if not 1 + _MARKERS <= self.min_weight <= self.max_weight // 2:
            raise ValueError(f"{self.min_weight} to {self.max_weight} entries cannot be kept to")


def balance_catalogs(
    tree: CatalogTree, nesting: Nesting, limits: Balance, *, empty: Callable[[], ContentHash], now: int
) -> None:
    """Split and merge until all catalogs that differ keep to ``limits``, where directories allow.

    Args:
        tree: the catalogs.
        nesting: what changes them.
        limits: the least and the most entries.
        empty: stages an empty file, when one is needed, and gives its object.
        now: Unix time, seconds.
    """
    for node in tree.from_below():
        writer = tree.writer(node)
        if writer.counters.own.entries > limits.max_weight:
            for directory in list(_partition(writer, limits)):
                nesting.make_automatic(directory, empty(), now)
            writer = tree.writer(node)
        if writer.counters.own.entries < limits.min_weight and nesting.is_automatic(node):
            nesting.unmake_automatic(node)


def _partition(writer: CatalogWriter, limits: Balance) -> Iterator[bytes]:
    """The directories at which to split, those that lie deeper first."""
    names: dict[_Key, tuple[_Key, bytes]] = {}
    weights: dict[_Key, int] = dict(writer.file_counts())
    children: dict[_Key, list[_Key]] = {}
    fixed: set[_Key] = set()
    for key, parent, name, flags in writer.directories():
        names[key] = parent, name
        children.setdefault(parent, []).append(key)
        if flags & _MOUNTPOINT:
            fixed.add(key)
    root: _Key = path_hash(writer.root_path)
    for key in _postorder(root, children):
        below = children.get(key, [])
        weight = 1 + weights.get(key, 0) + sum(weights[child] for child in below)
        weights[key] = weight
        target = limits.max_weight // 2 - (_MARKERS if key != root else 0)
        heaviest = [(-weights[child], child) for child in below if child not in fixed]
        heapq.heapify(heaviest)
        while weights[key] > target and heaviest and _MARKERS - heaviest[0][0] >= limits.min_weight:
            child = heapq.heappop(heaviest)[1]
            weights[key] -= weights[child] - 1
            weights[child] = 1
            yield _path(child, names, root, writer.root_path)


def _postorder(root: _Key, children: dict[_Key, list[_Key]]) -> Iterator[_Key]:
    pending = [(root, iter(children.get(root, ())))]
    while pending:
        key, rest = pending[-1]
        child = next(rest, None)
        if child is None:
            pending.pop()
            yield key
        else:
            pending.append((child, iter(children.get(child, ()))))


def _path(key: _Key, names: dict[_Key, tuple[_Key, bytes]], root: _Key, root_path: bytes) -> bytes:
    found: list[bytes] = []
    while key != root:
        key, name = names[key]
        found.append(name)
    return root_path + b"".join(b"/" + name for name in reversed(found))
