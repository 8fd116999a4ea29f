"""Software trees as people have them, and what is in a folder, a repository or a bucket, in one form to compare."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softman.cvmfs.reader import RepositoryReader

ELF = b"\x7fELF\x02\x01\x01" + bytes(100)
_TIME = 1_600_000_000


@dataclass(frozen=True)
class Node:
    """A file with its content, a link with where it leads, or a directory."""

    kind: str
    content: bytes = b""
    mode: int | None = None
    mtime: int | None = None


Nodes = dict[str, Node]
DIRECTORY = Node("directory")


def conda_like(root: Path) -> None:
    """A package manager's: an environment whose files are hard links into a cache of packages."""
    _files(
        root,
        {
            "bin/python3.11": ELF,
            "bin/activate": b"#!/bin/sh\nexport PATH\n",
            "conda-meta/history": b"==> 2026-11-22 <==\n",
            "conda-meta/python-3.11.7-h955ad1f_0.json": b'{"name": "python"}',
            "etc/empty": b"",
            "lib/libz.so.1.2.13": ELF + b"z",
            "lib/python3.11/site-packages/pip/__init__.py": b'__version__ = "23.3"\n',
            "lib/python3.11/site-packages/pip/__pycache__/__init__.cpython-311.pyc": bytes(range(256)),
            "share/zoneinfo/Etc/GMT+1": b"TZif",
            "share/locale/Größe und Ähnliches/a~b (1) & 'c' = 100%.txt": "müßig\n".encode(),
        },
    )
    for name, leads_to in {
        "bin/python": "python3.11",
        "bin/python3": "python3.11",
        "lib/libz.so": "libz.so.1",
        "lib/libz.so.1": "libz.so.1.2.13",
        "share/python": "../lib/python3.11",
    }.items():
        (root / name).symlink_to(leads_to)
    package = root / "pkgs/python-3.11.7-h955ad1f_0/bin"
    package.mkdir(parents=True)
    (package / "python3.11").hardlink_to(root / "bin/python3.11")
    (root / "lib/libz.copy").hardlink_to(root / "lib/libz.so.1.2.13")


def cvmfs_like(root: Path, repository: str) -> None:
    """An experiment's: releases for platforms, with nested catalogs, and links between releases."""
    _files(
        root,
        {
            "x86_64-el9/gcc13/1.0/.cvmfscatalog": b"",
            "x86_64-el9/gcc13/1.0/bin/run": b"#!/usr/bin/env python3\n",
            "x86_64-el9/gcc13/1.0/lib/libCore.so": ELF * 500,
            "x86_64-el9/gcc13/1.0/include/a.h": b"#pragma once\n",
            "x86_64-el9/gcc13/1.0-p1/lib/libCore.so": ELF * 501,
            "x86_64-el9/gcc13/1.0.txt": b"sorts between a folder and its content\n",
            "setup.sh": b"#!/bin/sh\n. x86_64-el9/gcc13/latest/setup\n",
        },
    )
    (root / "x86_64-el9/gcc13/latest").symlink_to("1.0-p1")
    (root / "x86_64-el9/gcc13/absolute").symlink_to(f"/cvmfs/{repository}/setup.sh")
    (root / "dangling").symlink_to("not/there")


def _files(root: Path, files: dict[str, bytes]) -> None:
    for number, (name, content) in enumerate(files.items()):
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o755 if content.startswith((b"#!", b"\x7fELF")) else 0o640)
        os.utime(place, (_TIME + number, _TIME + number))


def in_folder(root: Path, *, follow: bool = False) -> Nodes:
    """What a folder holds, a mounted repository for instance; ``follow`` shows links as what they lead to."""
    found: Nodes = {}
    for directory, folders, files in os.walk(root, followlinks=follow):
        for name in [*folders, *files]:
            place = Path(directory, name)
            path = "/" + str(place.relative_to(root))
            if place.is_symlink() and not follow:
                found[path] = Node("link", os.fsencode(place.readlink()))
            elif place.is_dir():
                found[path] = DIRECTORY
            elif place.exists():
                status = place.stat()
                found[path] = Node("file", place.read_bytes(), stat.S_IMODE(status.st_mode), int(status.st_mtime))
    return found


def in_repository(reader: RepositoryReader) -> Nodes:
    """What a repository shows, read over HTTP and verified."""
    found: Nodes = {}
    with reader.snapshot() as snapshot:
        for entry in snapshot.walk():
            path = entry.path.decode()
            if entry.is_symlink:
                found[path] = Node("link", entry.symlink)
            elif entry.is_dir:
                found[path] = DIRECTORY
            else:
                content = b"".join(snapshot.read_entry(entry))
                found[path] = Node("file", content, entry.permissions, entry.mtime)
    return found


def in_bucket(client: Any, bucket: str) -> Nodes:
    """What a repository should show of a bucket without archives: the rules written down once more, plainly."""
    found: Nodes = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="cvmfs/"):
        for item in page.get("Contents", []):
            key = item["Key"]
            path = key.removeprefix("cvmfs")
            if key != "cvmfs/":
                content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
                found |= dict.fromkeys(_above(path), DIRECTORY)
                if path.endswith("/"):
                    found[path[:-1]] = DIRECTORY
                elif path.endswith(".rclonelink"):
                    found[path.removesuffix(".rclonelink")] = Node("link", content)
                else:
                    found[path] = Node("file", content)
    return found


def content_of(nodes: Nodes) -> Nodes:
    """Without modes and times."""
    return {path: Node(node.kind, node.content) for path, node in nodes.items()}


def files_of(nodes: Nodes) -> Nodes:
    """Files alone, with modes and times: tools keep none of folders."""
    return {path: node for path, node in nodes.items() if node.kind == "file"}


def below(nodes: Nodes, folder: str) -> Nodes:
    """What is in one folder, with paths that begin there."""
    return {path.removeprefix(folder): node for path, node in nodes.items() if path.startswith(folder + "/")}


def _above(path: str) -> Iterator[str]:
    parts = path.rstrip("/").split("/")
    return ("/".join(parts[:end]) for end in range(2, len(parts)))
