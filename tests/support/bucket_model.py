"""What a repository shows of a bucket: the rules written down once more, as plainly as can be, for generated tests."""

import gzip
import io
import tarfile
from typing import Any

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
Objects = dict[str, tuple[bytes, dict[str, str]]]


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


def expected(objects: Objects, rules: Rules) -> dict[str, bytes | None]:
    """What a repository shows of a bucket: the mapping, written down once more, as plainly as can be."""
    targets = targets_of(objects, rules)
    folders = {t.path.decode() for t in targets.values() if t.is_directory}
    for target in targets.values():
        parts = target.path.decode().split("/")
        folders |= {"/".join(parts[:end]) for end in range(2, len(parts))}
    shown: dict[str, bytes | None] = dict.fromkeys(folders)
    for key in sorted(targets, key=str.encode):
        target, content = targets[key], objects[key][0]
        path = target.path.decode()
        if target.is_directory or path in shown:
            continue
        if target.kind is TargetKind.ARCHIVE:
            shown[path] = None
            shown[f"{path}/.cvmfscatalog"] = b""
            for name, member in MEMBERS[CONTENT[CLASSES[key.removeprefix("cvmfs/")]].index(content)].items():
                shown[f"{path}/{name}"] = member
                if "/" in name:
                    shown[f"{path}/{name.partition('/')[0]}"] = None
        else:
            shown[path] = b"-> " + content if target.kind is TargetKind.LINK else content
    return shown
