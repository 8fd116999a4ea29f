"""``softman whitelist``: signing whitelists where the master key is, when that is not within softman."""

from pathlib import Path

import click

from softman.cli.output import when, write_bytes
from softman.cli.session import Session, common_options, pass_session
from softman.cvmfs.format.signature import sign_whitelist
from softman.cvmfs.format.whitelist import Whitelist, fingerprint_text
from softman.errors import InvalidInput

_MAX_FILE = 256 * 1024


@click.group()
def whitelist() -> None:
    """Sign whitelists elsewhere, where the master key is offline: export, sign, import."""


@whitelist.command("export")
@click.argument("repo")
@common_options
@pass_session
def export(session: Session, *, repo: str) -> None:
    """Print the next whitelist of REPO, not signed yet. On the host of stratum 0."""
    name = session.repository(repo)
    write_bytes(session.backend.whitelists().export(name))


@whitelist.command("sign")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--master-key",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the master key.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="[default: FILE.signed]")
@common_options
@pass_session
def sign(session: Session, *, file: Path, master_key: Path, output: Path | None) -> None:
    """Sign the whitelist in FILE, and show what is signed. Needs no service and no network."""
    text = _read(file)
    listed = Whitelist.parse(text)
    if not listed.fingerprints:
        msg = f"{file} lists no certificate"
        raise InvalidInput(msg)
    target = output or file.with_name(f"{file.name}.signed")
    target.write_bytes(sign_whitelist(text, _read(master_key), listed.fingerprints[0].algorithm))
    shown = session.output
    if shown.as_json:
        shown.record(
            {
                "repository": listed.repository,
                "expires": int(listed.expires.timestamp()),
                "fingerprints": [fingerprint_text(each) for each in listed.fingerprints],
                "file": str(target),
            }
        )
        return
    shown.facts(
        [
            ("repository", listed.repository),
            ("expires", f"{when(listed.expires.timestamp())} UTC"),
            *[("allows", fingerprint_text(each)) for each in listed.fingerprints],
            ("signed", str(target)),
        ]
    )


@whitelist.command("import")
@click.argument("repo")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@common_options
@pass_session
def import_(session: Session, *, repo: str, file: Path) -> None:
    """Put the signed whitelist in FILE in force for REPO, after the checks of a client. On the host of stratum 0."""
    name = session.repository(repo)
    settings = session.backend.settings
    fresh = session.backend.whitelists().import_signed(name, _read(file), ttl=settings.cvmfs.ttl)
    session.backend.audit("import whitelist", name, f"valid until {fresh.expires:%F %H:%M} UTC")
    if session.output.as_json:
        session.output.record({"repository": str(name), "expires": int(fresh.expires.timestamp())})
    else:
        session.output.line(f"{name}: the whitelist is valid until {when(fresh.expires.timestamp())} UTC")


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(_MAX_FILE + 1)
    if len(content) > _MAX_FILE:
        msg = f"{file} is too large"
        raise InvalidInput(msg)
    return content
