"""What a repository shows of a bucket: the rules written down once more, as plainly as can be, for generated tests."""

import gzip
import io
import tarfile
from typing import Any

from softman.cvmfs.reader import RepositoryReader
from softman.errors import InvalidInput
from softman.names import RepositoryName
from softman.services.configuration import CONFIGURATION_KEY, parse_configuration
from softman.services.mapping import Rules, Target, TargetKind

PLAIN = [
    "a", "a/b", "a/b/c", "a-b", "a.b", "d/e/f", "d", "d/g", "d/.cvmfscatalog", "d/e/.cvmfscatalog", "ü", "x//y", "../z",
    ".cvmfsx",
]  # fmt: skip
FOLDERS = ["a/", "a/b/", "d/e/"]
LINKS = ["a.rclonelink", "a/b.rclonelink", "d/e/f.rclonelink"]
ARCHIVES = ["a.tar", "a.tar.gz", "a/b.tgz", "d/e.tar"]


def tar(compression: str, members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    wrapped: Any = gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) if compression == "gz" else stream
    with tarfile.open(fileobj=wrapped, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    if wrapped is not stream:
        wrapped.close()
    return stream.getvalue()


MEMBERS = [{"m": b"member", "b/c": b"below"}, {"n": b"other"}]
TARS = {suffix: [tar(suffix, members) for members in MEMBERS] for suffix in ("", "gz")}
UNPACKED = {content: members for tars in TARS.values() for content, members in zip(tars, MEMBERS, strict=True)}
CONTENT = {
    "plain": [b"", b"one", b"#!two", b"\x7fELF three"],
    "folder": [b"", b"", b"content"],
    "link": [b"one", b"a/b", b"./c"],
    "tar": TARS[""],
    "tgz": TARS["gz"],
}
CLASSES = {
    **dict.fromkeys(PLAIN, "plain"),
    **dict.fromkeys(FOLDERS, "folder"),
    **dict.fromkeys(LINKS, "link"),
    **{key: "tar" if key.endswith(".tar") else "tgz" for key in ARCHIVES},
}
CONFIGURATIONS = [
    b"ignore = ['/d/', '*.b']",
    b"[unpack]\nenabled = false",
    b"[unpack]\nbelow = ['a']\n[modes]\nfile = '0600'",
    b"[catalogs]\ndepth = 1",
    b"[catalogs]\ndepth = 2",
    b"broken",
    b"",
]
METADATA: list[dict[str, str]] = [{}, {}, {"mode": "100600"}, {"mtime": "1.5"}, {"unpack": "false"}]
OURS = ("/.cvmfscatalog", "/.cvmfsautocatalog", "/.cvmfsdirtab")
"""Names of files that are in a repository without being in the bucket."""
Objects = dict[str, tuple[bytes, dict[str, str]]]
Shown = dict[str, bytes | None]
"""Paths and content; None stands for a directory, ``-> `` begins links."""


def targets_of(objects: Objects, rules: Rules) -> dict[str, Target]:
    """What each object asks for."""
    found = {}
    for key, (content, metadata) in objects.items():
        target = rules.target_of(key)
        if not isinstance(target, Target) or (target.is_directory and content):
            continue
        if target.kind is TargetKind.ARCHIVE and metadata.get("unpack") == "false":
            target = Target(key, b"/" + key.removeprefix("cvmfs/").encode())
        found[key] = target
    return found


def expected(objects: Objects, rules: Rules) -> Shown:
    """What a repository shows of a bucket: the mapping, written down once more, as plainly as can be."""
    targets = targets_of(objects, rules)
    folders = {t.path.decode() for t in targets.values() if t.is_directory}
    for target in targets.values():
        parts = target.path.decode().split("/")
        folders |= {"/".join(parts[:end]) for end in range(2, len(parts))}
    shown: Shown = dict.fromkeys(folders)
    for key in sorted(targets, key=str.encode):
        target, content = targets[key], objects[key][0]
        path = target.path.decode()
        if target.is_directory or path in shown:
            continue
        if target.kind is TargetKind.ARCHIVE:
            shown[path] = None
            shown[f"{path}/.cvmfscatalog"] = b""
            for name, member in UNPACKED[content].items():
                shown[f"{path}/{name}"] = member
                if "/" in name:
                    shown[f"{path}/{name.partition('/')[0]}"] = None
        else:
            shown[path] = b"-> " + content if target.kind is TargetKind.LINK else content
    return shown


def shown_by(reader: RepositoryReader) -> Shown:
    """What a repository shows, read and verified."""
    found: Shown = {}
    with reader.snapshot() as snapshot:
        for entry in snapshot.walk():
            content = b"-> " + entry.symlink if entry.is_symlink else None
            found[entry.path.decode()] = b"".join(snapshot.read_entry(entry)) if entry.is_file else content
    return found


def of_the_owner(shown: Shown, wanted: Shown) -> Shown:
    """Without the files of our own that nobody asked for."""
    return {path: content for path, content in shown.items() if path in wanted or not path.endswith(OURS)}


def rules_after(name: RepositoryName, objects: Objects, before: Rules) -> Rules:
    """The rules that hold with the configuration in the bucket; of one that is not valid, those before."""
    stored = objects.get(CONFIGURATION_KEY)
    try:
        configuration = None if stored is None else parse_configuration(stored[0])
    except InvalidInput:
        return before
    return Rules(str(name), configuration)
