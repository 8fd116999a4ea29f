"""``softman repo create`` and ``resign``."""

from pathlib import Path

import click

from softman.cli.output import when
from softman.cli.repo.keyfiles import KeyFiles
from softman.cli.repo.storage import Place, hold, master_key_option, open_place, place_options
from softman.cli.session import Session, common_options, pass_session
from softman.cvmfs.format.hashes import HashAlgorithm

_TTL = 240
_HASHES = {"sha1": HashAlgorithm.SHA1, "rmd160": HashAlgorithm.RMD160, "shake128": HashAlgorithm.SHAKE128}
_DAYS = 30


@click.command()
@click.argument("name")
@place_options
@master_key_option
@click.option(
    "--hash",
    "hash_name",
    type=click.Choice(list(_HASHES)),
    default="sha1",
    show_default=True,
    help="What objects are named by, for good; clients know all three.",
)
@click.option(
    "--ttl",
    type=click.IntRange(min=1),
    default=_TTL,
    show_default=True,
    help="Seconds after which clients look for a new revision.",
)
@click.option(
    "--days", type=click.IntRange(min=1), default=_DAYS, show_default=True, help="Validity of the whitelist, in days."
)
@common_options
@pass_session
def create(
    session: Session,
    *,
    name: str,
    storage: str,
    keys: Path,
    lock: Path | None,
    master_key: Path | None,
    hash_name: str,
    ttl: int,
    days: int,
) -> None:
    """Make the repository NAME, empty, with new keys.

    Keys that are in the directory already are used. Run it again when it was interrupted.
    """
    place = Place(storage, keys, master_key, lock)
    files = KeyFiles(keys, name, master_key=master_key)
    held = hold(session, name, place, files.make(session.now()))
    manifest = held.repository.create(ttl=ttl, whitelist_days=days, algorithm=_HASHES[hash_name])
    hashed = next(word for word, algorithm in _HASHES.items() if algorithm is manifest.root_hash.algorithm)
    expires = held.repository.whitelist_expires()
    output = session.output
    if output.as_json:
        output.record(
            {
                "name": name,
                "revision": manifest.revision,
                "root_hash": str(manifest.root_hash),
                "hash": hashed,
                "public_key": str(files.path(".pub")),
                "whitelist_expires": int(expires.timestamp()),
            }
        )
        return
    output.facts(
        [
            ("repository", name),
            ("revision", str(manifest.revision)),
            ("hash", hashed),
            ("public key", str(files.path(".pub"))),
            ("whitelist until", when(expires.timestamp())),
        ]
    )


@click.command()
@click.argument("name")
@place_options
@master_key_option
@click.option(
    "--days", type=click.IntRange(min=1), default=_DAYS, show_default=True, help="Validity of the whitelist, in days."
)
@common_options
@pass_session
def resign(
    session: Session, *, name: str, storage: str, keys: Path, lock: Path | None, master_key: Path | None, days: int
) -> None:
    """Sign the whitelist of NAME anew; clients need one that has not expired."""
    held = open_place(session, name, Place(storage, keys, master_key, lock), with_master=True)
    expires = held.repository.resign_whitelist(days)
    output = session.output
    if output.as_json:
        output.record({"name": name, "whitelist_expires": int(expires.timestamp())})
    else:
        output.line(f"{name}: the whitelist is valid until {when(expires.timestamp())} UTC")
