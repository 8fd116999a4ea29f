"""A whole publish: from a source to the next revision of a repository whose keys are at hand."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.ingest.directory import DirectorySource
from softman.cvmfs.ingest.items import IngestOptions, IngestReport, Progress, Source
from softman.cvmfs.ingest.run import Ingest
from softman.cvmfs.ingest.tar import TarSource
from softman.cvmfs.ingest.workers import Workers
from softman.cvmfs.paths import repository_path
from softman.cvmfs.repository import Repository, Tagging
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.base import StagedStore
from softman.cvmfs.transaction import Balance, Transaction


@dataclass(frozen=True, slots=True)
class Publication:
    """What became of a publish: the manifest in force, whether it is a new one, and what was done."""

    manifest: Manifest
    is_new: bool
    report: IngestReport


@contextmanager
def open_source(place: Path, *, with_xattrs: bool = False) -> Iterator[Source]:
    """What lies at ``place``: a directory, or else a tar archive.

    Args:
        place: a path of this machine.
        with_xattrs: publish extended attributes of the user name space.
    """
    source = (DirectorySource if place.is_dir() else TarSource)(place, with_xattrs=with_xattrs)
    try:
        yield source
    finally:
        source.close()


def publish(
    repository: Repository,
    store: StagedStore,
    source: Source,
    workers: Workers,
    *,
    now: Callable[[], datetime],
    to: str | bytes = b"",
    options: IngestOptions | None = None,
    balance: Balance | None = None,
    tagging: Tagging | None = None,
    accept: Callable[[IngestReport], None] | None = None,
    progress: Progress | None = None,
    work_dir: Path | None = None,
) -> Publication:
    """Make the directory ``to`` of a repository like ``source``, as its next revision.

    Args:
        repository: with its keys.
        store: the repository's.
        source: what to publish.
        workers: make the objects.
        now: the clock, giving times with a time zone.
        to: made when it is not there; the root keeps its own attributes.
        options: how content is stored and compared.
        balance: limits between which catalogs are split and merged automatically; None leaves them alone.
        tagging: what to call the revision.
        accept: asked before anything is published; an error that it raises ends the publish.
        progress: is told what is done.
        work_dir: for temporary files; None takes the system's directory.

    Raises:
        SourceError: the source cannot be read, is damaged, or changed meanwhile. Nothing was published.
        RevisionConflict: somebody else published meanwhile. Nothing was published.
        CvmfsError: the repository cannot be read or written; see ``Repository.commit``.
    """
    base = repository_path(to)
    with Snapshot(store, repository.manifest(), work_dir=work_dir) as snapshot:
        staging = Staging(store.new_area(), algorithm=snapshot.manifest.root_hash.algorithm, published=store.is_stored)
        try:
            with Transaction(snapshot, staging, now=now, work_dir=work_dir, balance=balance) as transaction:
                ingest = Ingest(
                    transaction,
                    staging,
                    workers,
                    options=options or IngestOptions(),
                    published=store.is_stored,
                    base=base,
                    progress=progress,
                    work_dir=work_dir,
                )
                report = ingest.run(source)
                if accept is not None:
                    accept(report)
                candidate = transaction.seal()
            if candidate is None:
                return Publication(snapshot.manifest, is_new=False, report=report)
            manifest = repository.commit(
                candidate.root_hash,
                base_revision=candidate.base_revision,
                base_root_hash=candidate.base_root_hash,
                transaction=staging.transaction,
                tagging=tagging,
            )
            return Publication(manifest, is_new=True, report=report)
        finally:
            staging.discard()
