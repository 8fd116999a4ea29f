"""A whole publish: from a source to the next revision of a repository whose keys are at hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.ingest.items import IngestOptions, IngestReport, Progress, Source
from softman.cvmfs.ingest.workers import Workers
from softman.cvmfs.tags import Tagging
from softman.cvmfs.transaction import Balance

if TYPE_CHECKING:  # a repository's transactions use this package
    from softman.cvmfs.repository import Repository


@dataclass(frozen=True, slots=True)
class Publication:
    """What became of a publish: the manifest in force, whether it is a new one, and what was done."""

    manifest: Manifest
    is_new: bool
    report: IngestReport


def publish(
    repository: "Repository",
    source: Source,
    workers: Workers,
    *,
    to: str | bytes = b"",
    options: IngestOptions | None = None,
    balance: Balance | None = None,
    tagging: Tagging | None = None,
    accept: Callable[[IngestReport], None] | None = None,
    progress: Progress | None = None,
) -> Publication:
    """Make the directory ``to`` of a repository like ``source``, as its next revision.

    Args:
        repository: with its keys.
        source: what to publish.
        workers: make the objects.
        to: made when it is not there; the root keeps its own attributes.
        options: how content is stored and compared.
        balance: limits between which catalogs are split and merged automatically; None leaves them alone.
        tagging: what to call the revision.
        accept: asked before anything is published; an error that it raises ends the publish.
        progress: is told what is done.

    Raises:
        SourceError: the source cannot be read, is damaged, or changed meanwhile. Nothing was published.
        PathConflict: a revision published meanwhile changed the same path. Nothing was published.
        CvmfsError: the repository cannot be read or written; see ``Repository.transaction``.
    """
    with repository.transaction(tagging=tagging, balance=balance, workers=workers) as transaction:
        report = transaction.add_tree(to, source, options=options, progress=progress)
        if accept is not None:
            accept(report)
    assert transaction.result is not None  # noqa: S101 - it was left without an error
    return Publication(transaction.result.manifest, transaction.result.is_new, report)
