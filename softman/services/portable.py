"""Repositories as archives: to move one to another site, and to bring stratum 0 back after a loss (docs/lifecycle.md).

An archive is a tar file, written and read as a stream: ``softman.json`` with the registry record, ``keys.json`` if keys
were asked for, then the objects of the storage, and at last the files that lead to them, so that an archive that was
cut shows nothing. Every object is hashed on the way in.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import IO, Any

from softman.adapters.ports import KeyVault, Registry, UpkeepMarks
from softman.adapters.vault_layout import check_values, decode_record, encode_record
from softman.cvmfs.fetch import pieces
from softman.cvmfs.format.hashes import Hasher
from softman.cvmfs.objectset import object_of
from softman.cvmfs.store.base import StagedStore, StoredFile, is_name
from softman.errors import Corrupt, InvalidInput, NameTaken
from softman.model import Pause, RegistryRecord
from softman.names import RepositoryName
from softman.services.lifecycle import known
from softman.services.material import KeyMaterial, MasterKind, Material
from softman.services.translate import cvmfs_errors
from softman.services.upkeep import is_stored

SCHEMA = 1
RECORD, KEYS, STORAGE = "softman.json", "keys.json", "storage/"
MAX_DOCUMENT = 1024 * 1024
"""Bytes of a JSON file in an archive."""

Progress = Callable[[int], object]
"""Is told how many more bytes were written or read."""


class Porter:
    """Writes and reads archives, on the host of stratum 0.

    Args:
        registry: the registry, with the right to write.
        vault: key material.
        material: the same, as stratum 0 reads it.
        open_store: the storage of a repository.
        hand_over: writes a repository's keys into its owner's part of the vault.
        sign_whitelist: makes sure that the whitelist is valid for long.
        marks: keeps garbage collection away meanwhile.
        clock: the present time, with a time zone.
    """

    def __init__(
        self,
        registry: Registry,
        vault: KeyVault,
        material: KeyMaterial,
        open_store: Callable[[RepositoryName], StagedStore],
        *,
        hand_over: Callable[[Material], None],
        sign_whitelist: Callable[[Material], object],
        marks: UpkeepMarks,
        clock: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._vault = vault
        self._material = material
        self._open_store = open_store
        self._hand_over = hand_over
        self._sign_whitelist = sign_whitelist
        self._marks = marks
        self._clock = clock

    def stored(self) -> list[RepositoryName]:
        """Repositories that can be exported, sorted."""
        records = (self._registry.get(name) for name in self._registry.names())
        return [record.repository for record in records if record is not None and is_stored(record)]

    def export(self, name: RepositoryName, target: IO[bytes], *, keys: bool, progress: Progress) -> None:
        """Write a repository as it is now; it may be published to meanwhile, and garbage is not collected.

        Args:
            name: the repository.
            target: where to; whoever reads it with ``keys`` can sign the repository.
            keys: with its keys: the one that signs, the gateway key, and the master key unless that is offline.
            progress: is told how it goes on.

        Raises:
            NotFound: there is no such repository.
            InvalidInput: nothing is stored of it.
            Busy: a collection is at work.
            ServiceUnavailable: storage or vault do not answer.
        """
        record = known(self._registry, name)
        if not is_stored(record):
            msg = f"nothing is stored of {name}, which is {record.state}"
            raise InvalidInput(msg)
        store = self._open_store(name)
        with self._marks.turn(), cvmfs_errors(f"exporting {name}"), tarfile.open(fileobj=target, mode="w|") as archive:
            with store.lock(str(name)):  # what leads to the objects belongs together
                small = [(file.name, store.get(file.name, max_size=file.size)) for file in _small(store)]
            head = {"schema": SCHEMA, "record": encode_record(record), "last": [path for path, _ in small]}
            _add(archive, RECORD, _document(head))
            if keys:
                _add(archive, KEYS, _document(self._keys(name)))
            for file in store.listing("data/"):
                with store.open(file.name) as source:
                    archive.addfile(_member(STORAGE + file.name, file.size), _Reading(source.read))
                progress(file.size)
            for path, data in small:
                _add(archive, STORAGE + path, data)

    def bring_in(self, source: IO[bytes], *, progress: Progress) -> RegistryRecord:
        """Make a repository of an archive. Publishing from its bucket is paused until somebody resumes it.

        May be repeated after it was interrupted: the repository is registered last.

        Args:
            source: what ``export`` wrote.
            progress: is told how it goes on.

        Returns:
            Its record.

        Raises:
            NameTaken: there is a repository of that name, or keys that are others.
            Corrupt: it is no archive of ours, was cut, or an object is not what its name says.
            NotFound: it is without keys, and the vault has none for it.
        """
        try:
            with tarfile.open(fileobj=source, mode="r|") as archive:
                return self._read(archive, progress)
        except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError) as exc:
            msg = f"the archive cannot be read: {type(exc).__name__}: {exc}"
            raise Corrupt(msg) from exc

    def _read(self, archive: tarfile.TarFile, progress: Progress) -> RegistryRecord:
        members = iter(archive)
        document = _load(archive, next(members, None), RECORD)
        name = RepositoryName.parse(document["record"]["repository"])
        record = decode_record(document["record"], 0, name)
        if self._registry.get(name) is not None:
            msg = f"there is a repository {name} already"
            raise NameTaken(msg)
        store = self._open_store(name)
        small: list[tuple[str, bytes]] = []
        with cvmfs_errors(f"importing {name}"), store.lock(str(name)):
            store.ensure_directories()
            for member in members:
                if member.name == KEYS:
                    self._keep_keys(name, _load(archive, member, KEYS))
                    continue
                path = _checked(member)
                data = archive.extractfile(member)
                if data is None:
                    msg = f"{member.name} in the archive is no plain file"
                    raise Corrupt(msg)
                if path.startswith("data/"):
                    store.put(path, _hashed(data, path, member))
                else:
                    small.append((path, data.read(member.size)))
                progress(member.size)
            if [path for path, _ in small] != document["last"] or not small:
                msg = "the archive was cut: what leads to its objects is missing"
                raise Corrupt(msg)
            material = self._material.get(name, fresh=True)
            store.sync()
            for path, content in sorted(small, reverse=True):  # whitelist, reflog, and at last the manifest
                store.put(path, content, durable=True)
        return self._register(record, material)

    def _register(self, record: RegistryRecord, material: Material) -> RegistryRecord:
        paused = Pause(self._clock().timestamp(), "it was imported")
        made = self._registry.put(replace(record, pause=paused, version=0))
        self._hand_over(material)
        with cvmfs_errors(f"the whitelist of {record.repository}"):
            self._sign_whitelist(material)
        return made

    def _keys(self, name: RepositoryName) -> dict[str, Any]:
        material = self._material.get(name, fresh=True)
        master: dict[str, str] = {}
        if material.kind is not MasterKind.OFFLINE:
            self._material.master(material)  # moves what an earlier softman kept elsewhere
            material = self._material.get(name, fresh=True)
            master = self._vault.read_master(self._material.place(material)) or {}
        return {"signing": dict(material.values), "master": master}

    def _keep_keys(self, name: RepositoryName, keys: dict[str, Any]) -> None:
        signing, master = (check_values(keys[each], f"the keys of {name}") for each in ("signing", "master"))
        stored = self._vault.create_signing(name, signing)
        place = self._material.place(Material.of(name, stored))
        if stored != signing or (master and self._vault.create_master(place, master) != master):
            msg = f"the vault has other keys for {name} already"
            raise NameTaken(msg)


class _Reading(io.RawIOBase):
    """What ``tarfile`` reads from, given only a function to read with."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def read(self, size: int = -1, /) -> bytes:
        """All that is asked for, unless it ends before."""
        parts = []
        while size and (part := self._read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _small(store: StagedStore) -> Iterator[StoredFile]:
    return (file for file in store.listing() if not file.name.startswith("data/"))


def _document(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    archive.addfile(_member(name, len(data)), io.BytesIO(data))


def _load(archive: tarfile.TarFile, member: tarfile.TarInfo | None, name: str) -> Any:
    if member is None or member.name != name or not member.isfile() or member.size > MAX_DOCUMENT:
        msg = f"this is no archive of softman: {name} is expected"
        raise Corrupt(msg)
    data = archive.extractfile(member)
    document = json.loads(b"" if data is None else data.read())
    if name == RECORD and document["schema"] != SCHEMA:
        msg = f"the archive has schema {document['schema']!r}; this softman understands {SCHEMA} only"
        raise Corrupt(msg)
    return document


def _checked(member: tarfile.TarInfo) -> str:
    path = member.name.removeprefix(STORAGE)
    if not member.isfile() or not member.name.startswith(STORAGE) or not is_name(path):
        msg = f"{member.name[:100]!r} has no place in an archive of softman"
        raise Corrupt(msg)
    if not path.startswith("data/") and member.size > 64 * MAX_DOCUMENT:
        msg = f"{member.name} in the archive is too large"
        raise Corrupt(msg)
    return path


def _hashed(data: IO[bytes], path: str, member: tarfile.TarInfo) -> Iterator[bytes]:
    """The content of an object, which is stored only when it has the hash that it is named by."""
    found = object_of(StoredFile(path, member.size, 0.0))
    if found is None:
        msg = f"{member.name} is no object"
        raise Corrupt(msg)
    hasher = Hasher(found[0].algorithm)
    for piece in pieces(data.read):
        hasher.update(piece)
        yield piece
    if hasher.finish() != found[0]:
        msg = f"{member.name} is not what its name says"
        raise Corrupt(msg)
