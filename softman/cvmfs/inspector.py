"""Has a candidate inspected by a short-lived process (``candidate``), and gives it what it asks for."""

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from softman.cvmfs.candidate import Origin, Request
from softman.cvmfs.confined import ask_confined
from softman.cvmfs.errors import CandidateRejected, FormatError, ObjectMissing
from softman.cvmfs.fetch import ObjectFetcher
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, Hasher, ObjectKind
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import PIECE_SIZE, compressed_bound
from softman.cvmfs.staging import staged_name
from softman.cvmfs.store.base import StagedStore

_GIB = 1024**3
_KINDS = {kind.value: kind for kind in (ObjectKind.CHUNK, ObjectKind.CATALOG)}


@dataclass(frozen=True, slots=True)
class Limits:
    """What stratum 0 accepts in one repository, and what an inspection may take.

    ``lease_path`` is the directory that may change, ``b""`` for everything. Sizes are in bytes, times in seconds.
    """

    max_entries: int = 10_000_000
    max_bytes: int = 10 * 1024**4
    lease_path: bytes = b""
    links_within: str = ""
    """Where clients see the repository, out of which no symbolic link may lead; empty lets them lead anywhere."""
    quota_note: str = ""
    """What a refusal for too many entries or bytes says, too."""
    max_catalog_bytes: int = 4 * _GIB
    """Of any catalog's database."""
    timeout: float = 300.0
    cpu_seconds: int = 240
    memory_bytes: int = _GIB


@dataclass(frozen=True, slots=True)
class Report:
    """An accepted candidate: the size of its database, what it adds up to, and the objects it needs."""

    root_size: int
    entries: int
    bytes: int
    objects: tuple[tuple[ContentHash, ObjectKind], ...]


def inspect_staged(
    store: StagedStore,
    current: Manifest,
    candidate: ContentHash,
    transaction: str,
    limits: Limits,
    *,
    now: int,
    work: Path,
) -> Report:
    """Inspect a candidate that a publisher staged, as the successor of the revision in force.

    Args:
        store: of the repository.
        current: the manifest in force.
        candidate: the root catalog to inspect.
        transaction: in whose staging area it lies.
        limits: what to accept.
        now: Unix time, seconds.
        work: an empty directory for copies and scratch files.

    Raises:
        CandidateRejected: it is not there, is not what it is named, or breaks a rule.
        StoreUnavailable: the storage or this machine cannot do it now.
    """
    largest = max(limits.max_catalog_bytes, current.root_size)
    request = Request(
        candidate=str(candidate),
        work=str(work),
        base_revision=current.revision,
        base_root_hash=str(current.root_hash),
        ttl=current.ttl,
        now=now,
        algorithm=candidate.algorithm.value,
        max_entries=limits.max_entries,
        max_bytes=limits.max_bytes,
        max_catalog_bytes=limits.max_catalog_bytes,
        lease_path=os.fsdecode(limits.lease_path),
        links_within=limits.links_within,
        quota_note=limits.quota_note,
        memory_bytes=limits.memory_bytes,
        cpu_seconds=limits.cpu_seconds,
        file_bytes=4 * largest,
    )
    fetcher, names = ObjectFetcher(store, work_dir=work), (f"{number}.z" for number in count())

    def supply(origin: Origin, content: ContentHash) -> Path:
        target = work / next(names)
        if origin is Origin.CANDIDATE:
            _take(store, transaction, content, target, compressed_bound(limits.max_catalog_bytes))
        else:
            with fetcher.open(content, ObjectKind.CATALOG, max_stored=compressed_bound(largest)) as file:
                _copy(file.read, target)
        return target

    return run_inspection(request, supply, timeout=limits.timeout)


def _take(store: StagedStore, transaction: str, candidate: ContentHash, target: Path, max_size: int) -> None:
    """Copy the staged catalog out of the publisher's reach, then hash the copy.

    An earlier attempt at the same commit may have promoted it already.
    """
    name = staged_name(candidate, ObjectKind.CATALOG)
    try:
        with ExitStack() as opened:
            try:
                file = opened.enter_context(store.open_staged(transaction, name))
            except ObjectMissing:
                fetcher = ObjectFetcher(store, work_dir=target.parent)
                file = opened.enter_context(fetcher.open(candidate, ObjectKind.CATALOG, max_stored=max_size))
            found = _copy(file.read, target, candidate.algorithm, max_size)
    except ObjectMissing as exc:
        raise CandidateRejected(f"the candidate {candidate} is not in the staging area") from exc
    if found != candidate:
        raise CandidateRejected(f"the staged catalog {name} has the hash {found}")


def _copy(
    read: Callable[[int], bytes],
    target: Path,
    algorithm: HashAlgorithm = HashAlgorithm.SHA1,
    max_size: int | None = None,
) -> ContentHash:
    """Copy a stream to a new file; the hash of what was written."""
    hasher, size = Hasher(algorithm), 0
    with target.open("xb") as file:
        while piece := read(PIECE_SIZE):
            size += len(piece)
            if max_size is not None and size > max_size:
                raise CandidateRejected(f"the candidate has more than {max_size} bytes as stored")
            hasher.update(piece)
            file.write(piece)
    return hasher.finish()


def run_inspection(request: Request, supply: Callable[[Origin, ContentHash], Path], *, timeout: float) -> Report:
    """Inspect a candidate in a process of its own.

    Args:
        request: what to inspect.
        supply: leaves a catalog that the process asks for, verified, in a file of the working directory.
        timeout: seconds, by the clock on the wall; the limit of CPU time is in the request.

    Raises:
        CandidateRejected: the candidate breaks a rule, or the process broke on it.
        StoreUnavailable: the machine could not do it now. Errors of ``supply`` pass through.
    """
    answer = ask_confined(
        "softman.cvmfs.candidate",
        request.to_json(),
        Path(request.work),
        lambda question: supply(*_parse(question)),
        timeout=timeout,
        what="the inspection of the candidate",
    )
    return Report(answer["root_size"], answer["entries"], answer["bytes"], tuple(_objects(answer["objects"])))


def _parse(question: bytes) -> tuple[Origin, ContentHash]:
    """One question; the process asks the next only when it has the answer."""
    try:
        origin, _, content = question.decode("ascii").removesuffix("\n").partition(" ")
        return Origin(origin), ContentHash.parse(content)
    except (ValueError, FormatError) as exc:
        raise CandidateRejected(f"the inspection of the candidate asks for {question[:80]!r}") from exc


def _objects(names: Iterable[str]) -> Iterable[tuple[ContentHash, ObjectKind]]:
    for name in names:
        kind = _KINDS.get(name[-1:], ObjectKind.FILE)
        yield ContentHash.parse(name.removesuffix(kind.value)), kind
