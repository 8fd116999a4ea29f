"""What clients get to mount a repository."""

import gzip
import io
import subprocess
import tarfile

import pytest

from softman.names import RepositoryName
from softman.services.mounting import Mounting

NAME = RepositoryName("alice", "example.org")
KEY, NEXT = (f"-----BEGIN PUBLIC KEY-----\n{each}\n-----END PUBLIC KEY-----\n".encode() for each in ("AAAA", "BBBB"))


def packed(bundle: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
        members = archive.getmembers()
        assert all(
            member.isfile() and member.mode == 0o644 and (member.uid, member.gid) == (0, 0) for member in members
        )
        return {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]


@pytest.mark.parametrize("keys", [(KEY,), (KEY, NEXT)])
def test_the_bundle_has_what_its_configuration_names(keys: tuple[bytes, ...]) -> None:
    files = packed(Mounting(NAME, "http://cvmfs.example.org/cvmfs/alice.example.org", keys).bundle())
    configuration = files["etc/cvmfs/config.d/alice.example.org.conf"].decode()
    script = configuration + 'printf "%s|" "$CVMFS_SERVER_URL" "$CVMFS_PUBLIC_KEY"'
    url, named, _ = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout.split(
        "|"
    )
    assert url == "http://cvmfs.example.org/cvmfs/alice.example.org"
    assert tuple(files[path.removeprefix("/")] for path in named.split(":")) == keys
    assert "PROXY" not in configuration
    assert files["README.txt"].startswith(b"How to mount alice.example.org\n==============================\n")
    assert len(files) == 2 + len(keys)


def test_the_same_repository_gives_the_same_bytes() -> None:
    first, second = (Mounting(NAME, "http://cvmfs.example.org/x", (KEY,)).bundle() for _ in range(2))
    assert first == second
    assert gzip.decompress(first) != gzip.decompress(Mounting(NAME, "http://cvmfs.example.org/x", (NEXT,)).bundle())


def test_keys_may_lie_elsewhere() -> None:
    configuration = Mounting(NAME, "http://cvmfs.example.org/x", (KEY, NEXT)).configuration("/home/a/keys")
    assert (
        "CVMFS_PUBLIC_KEY='/home/a/keys/alice.example.org.pub:/home/a/keys/alice.example.org.next1.pub'"
        in configuration
    )
