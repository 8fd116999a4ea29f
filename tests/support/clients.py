"""Programs that people put files into buckets with, each doing the same things in its own way."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from softman.adapters.s3_client import S3Access, s3_client

SECONDS = 120
_NO_ANSWER = re.compile(r"connect|timed? ?out|EOF|reset|disconnect", re.IGNORECASE)
"""What the programs say when nobody answers."""


class Client(Protocol):
    """One of them. Names are keys without ``cvmfs/``, folders without a slash at the end."""

    keeps_links: bool
    """Symbolic links of a folder arrive as such; otherwise as what they lead to."""
    keeps_modes: bool
    """Modes and times of files arrive."""

    def sync(self, folder: Path, name: str) -> None:
        """Make ``name`` in the bucket like a local folder: what is new, what changed, what is gone."""

    def copy(self, name: str, other: str) -> None:
        """Copy one object within the bucket."""

    def rename(self, name: str, other: str) -> None:
        """Rename a folder."""

    def remove(self, name: str) -> None:
        """Remove a folder with all that is in it."""


@dataclass(frozen=True)
class Account:
    """A bucket, its owner's keys, and a folder for configuration."""

    access: S3Access
    bucket: str
    home: Path

    def run(self, *command: str, environment: dict[str, str] | None = None, warns: int = 0) -> None:
        """Run a program that knows nothing but this account; its status may be ``warns``, too.

        As people do, it is run again when the object store did not answer.
        """
        clean = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", **(environment or {})}
        deadline = time.monotonic() + SECONDS
        while True:
            done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=SECONDS, check=False)
            if done.returncode in {0, warns}:
                return
            told = done.stdout + done.stderr
            assert _NO_ANSWER.search(told), f"{command}: {told}"
            assert time.monotonic() < deadline, f"{command}: {told}"
            time.sleep(1)


class Boto3:
    """A script with boto3, which follows links and keeps nothing."""

    keeps_links = keeps_modes = False

    def __init__(self, account: Account) -> None:
        self._client: Any = s3_client(account.access, connections=2)
        self._bucket = account.bucket

    def sync(self, folder: Path, name: str) -> None:
        files: dict[str, Path] = {}
        for directory, _, names in os.walk(folder, followlinks=True):
            places = (Path(directory, each) for each in names)
            files |= {f"cvmfs/{name}/{place.relative_to(folder)}": place for place in places if place.exists()}
        there = {item["Key"]: item["ETag"] for item in self._listed(name)}
        for key, place in files.items():
            if key not in there or self._content(key) != place.read_bytes():
                self._client.upload_file(str(place), self._bucket, key)
        for key in there.keys() - files.keys():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def copy(self, name: str, other: str) -> None:
        source = {"Bucket": self._bucket, "Key": f"cvmfs/{name}"}
        self._client.copy(source, self._bucket, f"cvmfs/{other}")

    def rename(self, name: str, other: str) -> None:
        for item in self._listed(name):
            inner = item["Key"].removeprefix("cvmfs/")
            self.copy(inner, other + inner.removeprefix(name))
        self.remove(name)

    def remove(self, name: str) -> None:
        objects = [{"Key": item["Key"]} for item in self._listed(name)]
        self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects})

    def _listed(self, name: str) -> list[Any]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"cvmfs/{name}/")
        return [item for page in pages for item in page.get("Contents", [])]

    def _content(self, key: str) -> bytes:
        return bytes(self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read())


class Rclone:
    """rclone, with links and metadata."""

    keeps_links = keeps_modes = True

    def __init__(self, account: Account) -> None:
        self._account = account
        self._root = f"site:{account.bucket}/cvmfs/"
        access = account.access
        self._environment = {
            "RCLONE_CONFIG": str(account.home / "rclone.conf"),
            "RCLONE_CONFIG_SITE_TYPE": "s3",
            "RCLONE_CONFIG_SITE_PROVIDER": "Ceph",
            "RCLONE_CONFIG_SITE_ACCESS_KEY_ID": access.access_key,
            "RCLONE_CONFIG_SITE_SECRET_ACCESS_KEY": access.secret_key,
            "RCLONE_CONFIG_SITE_ENDPOINT": access.endpoint,
        }

    def sync(self, folder: Path, name: str) -> None:
        self._run("sync", str(folder), self._root + name, "--links", "--metadata")

    def copy(self, name: str, other: str) -> None:
        self._run("copyto", self._root + name, self._root + other, "--metadata")

    def rename(self, name: str, other: str) -> None:
        self._run("moveto", self._root + name, self._root + other, "--metadata")

    def remove(self, name: str) -> None:
        self._run("purge", self._root + name)

    def _run(self, *arguments: str) -> None:
        self._account.run("rclone", *arguments, environment=self._environment)


class AwsCli:
    """The AWS command line, which follows links and keeps nothing."""

    keeps_links = keeps_modes = False

    def __init__(self, account: Account) -> None:
        self._account = account
        self._root = f"s3://{account.bucket}/cvmfs/"

    def sync(self, folder: Path, name: str) -> None:
        self._run("sync", str(folder), self._root + name, "--delete")

    def copy(self, name: str, other: str) -> None:
        self._run("cp", self._root + name, self._root + other)

    def rename(self, name: str, other: str) -> None:
        self._run("mv", "--recursive", self._root + name, self._root + other)

    def remove(self, name: str) -> None:
        self._run("rm", "--recursive", self._root + name)

    def _run(self, *arguments: str) -> None:
        access = self._account.access
        environment = {
            "AWS_ACCESS_KEY_ID": access.access_key,
            "AWS_SECRET_ACCESS_KEY": access.secret_key,
            "AWS_DEFAULT_REGION": access.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        # Status 2: links that lead nowhere were left out.
        command = ("aws", "--endpoint-url", access.endpoint, "s3", *arguments)
        self._account.run(*command, environment=environment, warns=2)


class S3cmd:
    """s3cmd, which keeps modes and times and follows links when told to."""

    keeps_links = False
    keeps_modes = True

    def __init__(self, account: Account) -> None:
        self._account = account
        self._root = f"s3://{account.bucket}/cvmfs/"
        self._config = account.home / "s3cfg"
        access = account.access
        host = access.endpoint.rpartition("/")[2]
        lines = {
            "access_key": access.access_key,
            "secret_key": access.secret_key,
            "host_base": host,
            "host_bucket": host,
            "use_https": access.endpoint.startswith("https"),
            "bucket_location": access.region,
        }
        self._config.write_text("[default]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items()))

    def sync(self, folder: Path, name: str) -> None:
        self._run("sync", "--delete-removed", "--follow-symlinks", "--preserve", f"{folder}/", f"{self._root}{name}/")

    def copy(self, name: str, other: str) -> None:
        self._run("cp", self._root + name, self._root + other)

    def rename(self, name: str, other: str) -> None:
        self._run("mv", "--recursive", f"{self._root}{name}/", f"{self._root}{other}/")

    def remove(self, name: str) -> None:
        self._run("rm", "--recursive", f"{self._root}{name}/")

    def _run(self, *arguments: str) -> None:
        self._account.run("s3cmd", "-c", str(self._config), *arguments)


def steps(client: Client, folder: Path, place: str) -> Iterator[None]:
    """What somebody does with a folder, one thing after the other; the folder is changed likewise."""
    client.sync(folder, place)
    yield
    (folder / "setup.sh").write_bytes(b"#!/bin/sh\n# another one, of another size\n")
    (folder / "new/folder").mkdir(parents=True)
    (folder / "new/folder/file").write_bytes(b"new\n" * 1000)
    shutil.rmtree(folder / "conda/share")
    (folder / "conda/bin/python3").unlink()
    client.sync(folder, place)
    yield
    client.copy(f"{place}/setup.sh", f"{place}/new/setup.copy")
    shutil.copy2(folder / "setup.sh", folder / "new/setup.copy")
    yield
    client.rename(f"{place}/x86_64-el9/gcc13/1.0", f"{place}/x86_64-el9/gcc13/renamed")
    (folder / "x86_64-el9/gcc13/1.0").rename(folder / "x86_64-el9/gcc13/renamed")
    yield
    client.remove(f"{place}/conda")
    shutil.rmtree(folder / "conda")
    yield


CLIENTS: dict[str, tuple[Callable[[Account], Client], str]] = {
    "boto3": (Boto3, ""),
    "rclone": (Rclone, "rclone"),
    "awscli": (AwsCli, "aws"),
    "s3cmd": (S3cmd, "s3cmd"),
}
"""How to make each, and the program that it needs."""


def missing(name: str) -> str:
    """Why a client cannot be used here; empty when it can."""
    program = CLIENTS[name][1]
    return "" if not program or shutil.which(program) else f"{program} is not on the PATH (Debian package {name})"
