"""``softman repo publish``."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import click

from softman.cli.output import Output, size, typed_path, warn
from softman.cli.repo.storage import Place, open_place, place_options
from softman.cli.session import Session, common_options, pass_session
from softman.cvmfs.format.chunker import ChunkSizes
from softman.cvmfs.format.entry import Compression
from softman.cvmfs.format.objects import MAX_LEVEL
from softman.cvmfs.ingest import IngestOptions, IngestReport, Publication, Workers, open_source, publish
from softman.cvmfs.ingest.items import Progress as Report
from softman.cvmfs.repository import Tagging
from softman.cvmfs.store.local import LocalStore
from softman.cvmfs.transaction import Balance
from softman.errors import PermanentError

_MB = 1e6
_LIMITS = Balance()
_SHOWN_REFUSALS = 20
_ABANDONED = timedelta(days=1)
"""After so long a staging area in which nothing happens is taken for one of a crash."""


@dataclass(frozen=True, slots=True)
class _Wishes:
    """The options of a publish that say how content is taken."""

    delete: bool
    compare_content: bool
    chunks: str
    compression: str
    level: int | None

    def options(self) -> IngestOptions:
        """In the library's terms."""
        chunks: ChunkSizes | int | None = ChunkSizes() if self.chunks == "content" else None
        if self.chunks.isdigit():
            chunks = int(self.chunks) * 1024 * 1024
        return IngestOptions(
            compression=Compression(self.compression),
            level=self.level,
            chunks=chunks,
            compare_content=self.compare_content,
            delete=self.delete,
        )


def _checked_chunks(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value in {"content", "none"} or (value.isdigit() and int(value) > 0):
        return value
    raise click.BadParameter("content, none, or a number of MiB")


def _balance(most: int, least: int) -> Balance:
    try:
        return Balance(most, least)
    except ValueError as exc:
        msg = "--min-entries must be 3 at least, and at most half of --max-entries"
        raise click.UsageError(msg) from exc


@click.command("publish")
@click.argument("name")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@place_options
@click.option("--to", default="/", show_default=True, help="Directory of the repository that becomes like SOURCE.")
@click.option("--delete", is_flag=True, help="Remove what SOURCE lacks.")
@click.option("--tag", help="Give the new revision this name, too.")
@click.option("--message", default="", help="Description of the tag.")
@click.option("--strict", is_flag=True, help="Publish nothing when anything in SOURCE cannot be published.")
@click.option("--compare-content", is_flag=True, help="Read every file, instead of trusting size and time.")
@click.option("--xattrs", is_flag=True, help="Publish extended attributes of the user name space.")
@click.option(
    "--chunks",
    default="content",
    show_default=True,
    callback=_checked_chunks,
    help='Where large files are cut: by "content", every so many MiB, or "none".',
)
@click.option(
    "--compression",
    type=click.Choice([value.value for value in Compression]),
    default=Compression.ZLIB.value,
    show_default=True,
    help="How content is stored.",
)
@click.option("--level", type=click.IntRange(0, MAX_LEVEL), help="Of the compression; the default is fast.")
@click.option(
    "--balance/--no-balance",
    default=False,
    show_default=True,
    help="Split catalogs that grow too large at directories, and merge them again when they shrink.",
)
@click.option(
    "--max-entries",
    type=int,
    default=_LIMITS.max_weight,
    show_default=True,
    help="With --balance: a catalog with more is split.",
)
@click.option(
    "--min-entries",
    type=int,
    default=_LIMITS.min_weight,
    show_default=True,
    help="With --balance: a catalog that was split off is merged when it has fewer.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes that make objects; one a core by default.")
@common_options
@pass_session
def publish_command(
    session: Session,
    /,
    *,
    name: str,
    source: Path,
    storage: str,
    keys: Path,
    lock: Path | None,
    to: str,
    tag: str | None,
    message: str,
    strict: bool,
    xattrs: bool,
    balance: bool,
    max_entries: int,
    min_entries: int,
    workers: int | None,
    **wishes: object,
) -> None:
    """Publish SOURCE, a directory or a tar archive, as the next revision of NAME.

    Archives may be plain or compressed with gzip, bzip2, xz or zstd. Files whose size and time are those of the catalog
    are not read again. What cannot be published is left out and named. Symbolic links are published as they are.

    A file .cvmfscatalog gives its directory a catalog of its own, and .cvmfsdirtab at the root of the repository names
    directories that get one. Large trees need some: a client loads catalogs whole.
    """
    limits = _balance(max_entries, min_entries) if balance else None
    held = open_place(session, name, Place(storage, keys, lock=lock))
    if message and tag is None:
        raise click.UsageError("--message describes the tag: give --tag, too")
    tagging = Tagging(tag, message)
    options = _Wishes(**wishes).options()  # type: ignore[arg-type]  # click checked them
    held.repository.sweep_staging(_ABANDONED)
    started = time.monotonic()
    with (
        Workers(processes=isinstance(held.store, LocalStore), count=workers) as pool,
        open_source(source, with_xattrs=xattrs) as opened,
        _progress(session.output) as progress,
    ):
        done = publish(
            held.repository,
            opened,
            pool,
            to=typed_path(to),
            options=options,
            balance=limits,
            tagging=tagging,
            accept=_refuse_any if strict else None,
            progress=progress,
        )
    _show(session.output, name, done, time.monotonic() - started)


def _refuse_any(report: IngestReport) -> None:
    _warn_of_refusals(report)
    if report.refusals:
        msg = f"nothing was published: {report.refusals} entries cannot be, and --strict was given"
        raise PermanentError(msg)


def _warn_of_refusals(report: IngestReport) -> None:
    for refusal in report.refused[:_SHOWN_REFUSALS]:
        warn(f"left out: {refusal.path.decode(errors='backslashreplace')}: {refusal.reason}")
    if report.refusals > _SHOWN_REFUSALS:
        warn(f"left out: {report.refusals - _SHOWN_REFUSALS} more; --json names them")


def _show(output: Output, name: str, done: Publication, seconds: float) -> None:
    report, manifest = done.report, done.manifest
    speed = report.size / _MB / seconds
    if output.as_json:
        output.record(
            {
                "name": name,
                "revision": manifest.revision,
                "root_hash": str(manifest.root_hash),
                "published": done.is_new,
                "seconds": round(seconds, 3),
                "report": report,
            }
        )
        return
    _warn_of_refusals(report)
    output.facts(
        [
            ("files", f"{report.files} ({report.unchanged} unchanged)"),
            ("directories", str(report.directories)),
            ("symbolic links", str(report.links)),
            ("size", f"{size(report.size)} ({size(report.read)} read)"),
            ("new objects", f"{report.objects} ({size(report.stored)})"),
            ("deduplicated", str(report.deduplicated)),
            ("removed", str(report.removed)),
            ("speed", f"{speed:.1f} MB/s in {seconds:.1f} s"),
            ("revision", f"{manifest.revision}" + ("" if done.is_new else ": nothing changed")),
        ]
    )


@contextmanager
def _progress(output: Output) -> Iterator[Report | None]:
    """A progress bar on standard error, when a person looks at it."""
    if output.as_json or not sys.stderr.isatty():
        yield None
        return
    # Here, because nobody else needs what takes so long to import.
    from rich import progress  # noqa: PLC0415 - slow to import
    from rich.console import Console  # noqa: PLC0415 - slow to import

    columns = (
        progress.TextColumn("{task.fields[files]} files"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, files = bar.add_task("", total=None, files=0), 0

        def advance(more: int, amount: int) -> None:
            nonlocal files
            files += more
            bar.update(task, advance=amount, files=files)

        yield advance
