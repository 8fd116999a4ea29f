"""``softman repo tag``, ``rollback`` and ``gc``: the past of a repository."""

from datetime import timedelta
from pathlib import Path

import click

from softman.cli.output import Output, size, when
from softman.cli.repo.storage import Place, open_place, place_options
from softman.cli.session import Session, common_options, pass_session
from softman.cvmfs.format.history import Tag
from softman.cvmfs.gc import DEFAULT_AGE
from softman.cvmfs.repository import Retention


@click.command()
@click.argument("name")
@click.argument("tags", nargs=-1, metavar="[TAG]...")
@place_options
@click.option("--revision", type=click.IntRange(min=1), help="The revision to tag, instead of the one in force.")
@click.option("--message", default="", help="Description of the tag.")
@click.option("--move", is_flag=True, help="Take the name away from another revision.")
@click.option("--remove", is_flag=True, help="Remove the tags; what only they kept goes with the next gc.")
@click.option("--forget-lost", is_flag=True, help="Begin without tags, because the tag database is lost or damaged.")
@common_options
@pass_session
def tag(
    session: Session,
    *,
    name: str,
    tags: tuple[str, ...],
    storage: str,
    keys: Path,
    lock: Path | None,
    revision: int | None,
    message: str,
    move: bool,
    remove: bool,
    forget_lost: bool,
) -> None:
    """List the tags of NAME, add TAG, or remove each TAG.

    A tag keeps its revision from garbage collection. "trunk" and "trunk-previous" move by themselves. Nothing can be
    published while the tag database cannot be read: bring it back from a replica or a backup, or use --forget-lost.
    """
    repository = open_place(session, name, Place(storage, keys, lock=lock)).repository
    others = bool(remove or move or message or revision is not None)
    if forget_lost:
        if tags or others:
            raise click.UsageError("--forget-lost goes alone")
        repository.forget_lost_tags()
        _show_tags(session.output, list(repository.history().tags))
    elif not tags:
        if others:
            raise click.UsageError("which TAG?")
        _show_tags(session.output, list(repository.history().tags))
    elif remove:
        manifest = repository.remove_tags(tags)
        _say(
            session.output, {"name": name, "removed": tags, "revision": manifest.revision}, f"removed: {' '.join(tags)}"
        )
    elif len(tags) > 1:
        raise click.UsageError("one TAG at a time can be added")
    else:
        added = repository.add_tag(tags[0], description=message, revision=revision, move=move)
        _show_tags(session.output, [added])


@click.command()
@click.argument("name")
@place_options
@click.option("--to-tag", help="Go back to the revision with this tag.")
@click.option("--to-revision", type=click.IntRange(min=1), help="Go back to the revision of this number.")
@common_options
@pass_session
def rollback(
    session: Session,
    *,
    name: str,
    storage: str,
    keys: Path,
    lock: Path | None,
    to_tag: str | None,
    to_revision: int | None,
) -> None:
    """Publish an earlier tree of NAME again, as a new revision; by default the one before the last publish.

    Tags on the revisions after it are removed.
    """
    if to_tag is not None and to_revision is not None:
        raise click.UsageError("--to-tag and --to-revision exclude each other")
    repository = open_place(session, name, Place(storage, keys, lock=lock)).repository
    if to_tag is None and to_revision is None:
        done = repository.undo()
    else:
        done = repository.rollback(tag=to_tag, revision=to_revision)
    removed = [gone.name for gone in done.removed_tags]
    record = {"name": name, "revision": done.manifest.revision, "target": done.target, "removed_tags": removed}
    text = f"{name}: revision {done.manifest.revision} shows what revision {done.target} had"
    _say(session.output, record, text + (f"; removed tags: {' '.join(removed)}" if removed else ""))


@click.command()
@click.argument("name")
@place_options
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Revisions to keep before the one in force.",
)
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=DEFAULT_AGE / timedelta(days=1),
    show_default=True,
    help="Keep revisions that were in force within so many days.",
)
@click.option("--unreferenced", is_flag=True, help="Remove also what no known revision refers to; lists all objects.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@common_options
@pass_session
def gc(
    session: Session,
    *,
    name: str,
    storage: str,
    keys: Path,
    lock: Path | None,
    keep: int,
    days: float,
    unreferenced: bool,
    dry_run: bool,
) -> None:
    """Remove objects of NAME that only old, untagged revisions refer to."""
    repository = open_place(session, name, Place(storage, keys, lock=lock)).repository
    retention = Retention(keep, timedelta(days=days) if days else None)
    done = repository.collect_garbage(retention, dry_run=dry_run, unreferenced=unreferenced)
    record = {
        "name": name,
        "dry_run": done.dry_run,
        "kept": done.kept,
        "revisions": done.revisions,
        "objects": done.objects,
        "bytes": done.bytes,
        "young": done.young,
    }
    verb = "would remove" if done.dry_run else "removed"
    text = f"{name}: {verb} {done.revisions} revisions, {done.objects} objects, {size(done.bytes)}"
    young = f"; {done.young} objects are too young, a transaction is running" if done.young else ""
    _say(session.output, record, f"{text}; {len(done.kept)} revisions are kept{young}")


def _show_tags(output: Output, tags: list[Tag]) -> None:
    tags = sorted(tags, key=lambda one: (-one.revision, one.name))
    if output.as_json:
        for one in tags:
            output.record(
                {
                    "tag": one.name,
                    "revision": one.revision,
                    "published_at": one.timestamp,
                    "root_hash": str(one.root_hash),
                    "description": one.description,
                }
            )
        return
    rows = ((one.name, str(one.revision), when(one.timestamp), one.description) for one in tags)
    output.table(("tag", "revision", "date (UTC)", "description"), rows)


def _say(output: Output, record: dict[str, object], text: str) -> None:
    if output.as_json:
        output.record(record)
    else:
        output.line(text)
