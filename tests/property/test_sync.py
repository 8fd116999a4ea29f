"""Generated sequences of puts, overwrites, copies and deletes: the repository equals a model of the bucket.

Events may be delivered late, twice, in any order and folded; a reconciliation may come at any time. Files, folders,
links and archives claim each other's places, catalogs are split and merged, and the owner changes the configuration.
"""

import gzip
import io
import tarfile
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from softman.cvmfs.balancing import Balance
from softman.cvmfs.format.keys import generate_gateway_key, generate_keys
from softman.cvmfs.store.local import LocalStore
from softman.errors import InvalidInput
from softman.services.configuration import CONFIGURATION_KEY, parse_configuration
from softman.services.mapping import Rules, Target, TargetKind
from tests.support.catalogs import stored_catalogs
from tests.support.world import LIMITS, World

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
KEYS = st.sampled_from([f"cvmfs/{key}" for key in CLASSES])
METADATA = st.sampled_from([{}, {}, {"mode": "100600"}, {"mtime": "1.5"}, {"unpack": "false"}])
CONFIGURATIONS = st.sampled_from(
    [
        b"ignore = ['/d/', '*.b']",
        b"[unpack]\nenabled = false",
        b"[unpack]\nbelow = ['a']\n[modes]\nfile = '0600'",
        b"[catalogs]\ndepth = 1",
        b"[catalogs]\ndepth = 2",
        b"broken",
        b"",
    ]
)


def _material() -> dict[str, str]:
    keys = generate_keys("alice.example.org", datetime(2026, 11, 22, tzinfo=UTC))
    return {
        "masterKey": keys.master_key.decode(),
        "publicKey": keys.public_key.decode(),
        "privateKey": keys.private_key.decode(),
        "certificate": keys.certificate.decode(),
        "gatewayKey": generate_gateway_key().to_text(),
    }


MATERIAL = _material()
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


class BucketAndRepository(RuleBasedStateMachine):
    """One bucket, its repository, and what is still under way between them."""

    @initialize(balance=st.sampled_from([None, Balance(6, 3)]))
    def begin(self, balance: Balance | None) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="softman-property-")
        self.world = World(Path(self.folder.name), MATERIAL, limits=replace(LIMITS, balance=balance))
        self.alice = self.world.provision("alice")
        self.objects: Objects = {}
        self.undelivered: set[str] = set()
        self.mapping = Rules("alice.example.org")

    @rule(key=KEYS, data=st.data(), metadata=METADATA)
    def put(self, key: str, data: st.DataObject, metadata: dict[str, str]) -> None:
        self._put(key, data.draw(st.sampled_from(CONTENT[CLASSES[key.removeprefix("cvmfs/")]])), metadata)

    @rule(content=CONFIGURATIONS)
    def configure(self, content: bytes) -> None:
        self._put(CONFIGURATION_KEY, content, {})

    def _put(self, key: str, content: bytes, metadata: dict[str, str]) -> None:
        self.world.clock.tick()
        self.world.buckets.put("alice", key, content, metadata)
        self.objects[key] = content, metadata
        self.undelivered.add(key)

    @rule(key=KEYS | st.just(CONFIGURATION_KEY))
    def delete(self, key: str) -> None:
        self.world.clock.tick()
        self.world.buckets.delete("alice", key)
        self.objects.pop(key, None)
        self.undelivered.add(key)

    @rule(data=st.data())
    def copy(self, data: st.DataObject) -> None:
        sources = sorted(key for key in self.objects if key != CONFIGURATION_KEY)
        if sources:
            source = data.draw(st.sampled_from(sources))
            kind = CLASSES[source.removeprefix("cvmfs/")]
            key = "cvmfs/" + data.draw(st.sampled_from([name for name, other in CLASSES.items() if other == kind]))
            self.world.clock.tick()
            self.world.buckets.copy("alice", source, key)
            self.objects[key] = self.objects[source]
            self.undelivered.add(key)

    @rule(data=st.data())
    def some_events_arrive(self, data: st.DataObject) -> None:
        if self.undelivered:
            keys = data.draw(st.sets(st.sampled_from(sorted(self.undelivered)), min_size=1))
            self.sync(*keys)
            self.undelivered -= keys if data.draw(st.booleans()) else set()

    @rule()
    def all_events_arrive(self) -> None:
        if self.undelivered:
            self.sync(*self.undelivered)
            self.undelivered.clear()
            self.compare()

    @rule()
    def events_are_lost_and_reconciliation_comes(self) -> None:
        self.undelivered.clear()
        self.sync()
        self.compare()

    @rule()
    def redis_is_flushed(self) -> None:
        self.world.pending.flush()

    def sync(self, *keys: str) -> None:
        self.world.sync(self.alice, *keys)
        stored = self.objects.get(CONFIGURATION_KEY)
        try:
            configuration = None if stored is None else parse_configuration(stored[0])
        except InvalidInput:
            return  # the last good one stays in force
        self.mapping = Rules("alice.example.org", configuration)

    def compare(self) -> None:
        depth = self.mapping.configuration.catalog_depth
        ours = {"/.cvmfscatalog", "/.cvmfsautocatalog", "/.cvmfsdirtab"}
        wanted = expected(self.objects, self.mapping)
        shown = {
            path: content
            for path, content in self.world.shown(self.alice).items()
            if path in wanted or not any(path.endswith(name) for name in ours)
        }
        assert shown == wanted
        everything = self.world.shown(self.alice)
        assert ("/.cvmfsdirtab" in everything) is (depth > 0)
        folders = {path for path, content in everything.items() if content is None and path.count("/") <= depth}
        assert folders <= {path.rpartition("/")[0] for path in everything if path.endswith("/.cvmfscatalog")}

    @invariant()
    def nothing_is_left_pending(self) -> None:
        if hasattr(self, "world"):
            assert self.world.pending.count(self.alice) == 0

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.sync()
            self.compare()
            assert self.world.sync(self.alice).revision is None
            manifest = self.world.reader(self.alice).manifest()
            store = LocalStore(self.world.root / str(self.alice))
            assert stored_catalogs(manifest.root_hash, store).problems == []
            self.folder.cleanup()


TestBucketAndRepository = BucketAndRepository.TestCase
TestBucketAndRepository.settings = settings(max_examples=12, stateful_step_count=25, deadline=None, derandomize=True)
