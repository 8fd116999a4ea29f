"""Generated sequences of puts, overwrites, copies and deletes: the repository equals a model of the bucket.

Events may be delivered late, twice, in any order and folded; a reconciliation may come at any time.
"""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from softman.cvmfs.check import catalog_problems
from softman.cvmfs.format.keys import generate_gateway_key, generate_keys
from softman.services.mapping import Rules, Target
from tests.support.world import World

KEYS = st.sampled_from(
    ["a", "a/", "a/b", "a/b/", "a/b/c", "a-b", "a.b", "d/e/f", "d/e/", "d", "d/g", "ü", "x//y", "../z", ".cvmfsx"]
).map("cvmfs/".__add__)
CONTENT = st.sampled_from([b"", b"one", b"#!two", b"\x7fELF three"])
METADATA = st.sampled_from([{}, {}, {"mode": "100600"}, {"mtime": "1.5"}])


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
target_of = Rules("alice.example.org").target_of


def expected(objects: dict[str, bytes]) -> dict[str, bytes | None]:
    """What a repository shows of a bucket: the mapping, written down once more, as plainly as can be."""
    targets = {key: target for key in objects if isinstance(target := target_of(key), Target)}
    targets = {key: t for key, t in targets.items() if not (t.is_directory and objects[key])}
    folders = {t.path.decode() for t in targets.values() if t.is_directory}
    for target in targets.values():
        parts = target.path.decode().split("/")
        folders |= {"/".join(parts[:end]) for end in range(2, len(parts))}
    shown: dict[str, bytes | None] = dict.fromkeys(folders)
    for key, target in targets.items():
        if not target.is_directory and target.path.decode() not in folders:
            shown[target.path.decode()] = objects[key]
    return shown


class BucketAndRepository(RuleBasedStateMachine):
    """One bucket, its repository, and what is still under way between them."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="softman-property-")
        self.world = World(Path(self.folder.name), MATERIAL)
        self.alice = self.world.provision("alice")
        self.objects: dict[str, bytes] = {}
        self.undelivered: set[str] = set()

    @rule(key=KEYS, content=CONTENT, metadata=METADATA)
    def put(self, key: str, content: bytes, metadata: dict[str, str]) -> None:
        self.world.clock.tick()
        self.world.buckets.put("alice", key, content, metadata)
        self.objects[key] = content
        self.undelivered.add(key)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.world.clock.tick()
        self.world.buckets.delete("alice", key)
        self.objects.pop(key, None)
        self.undelivered.add(key)

    @rule(source=KEYS, key=KEYS)
    def copy(self, source: str, key: str) -> None:
        if source in self.objects:
            self.world.clock.tick()
            self.world.buckets.copy("alice", source, key)
            self.objects[key] = self.objects[source]
            self.undelivered.add(key)

    @rule(data=st.data())
    def some_events_arrive(self, data: st.DataObject) -> None:
        if self.undelivered:
            keys = data.draw(st.sets(st.sampled_from(sorted(self.undelivered)), min_size=1))
            self.world.sync(self.alice, *keys)
            self.undelivered -= keys if data.draw(st.booleans()) else set()

    @rule()
    def all_events_arrive(self) -> None:
        if self.undelivered:
            self.world.sync(self.alice, *self.undelivered)
            self.undelivered.clear()
            self.compare()

    @rule()
    def events_are_lost_and_reconciliation_comes(self) -> None:
        self.undelivered.clear()
        self.world.sync(self.alice)
        self.compare()

    @rule()
    def redis_is_flushed(self) -> None:
        self.world.pending.flush()

    def compare(self) -> None:
        assert self.world.shown(self.alice) == expected(self.objects)

    @invariant()
    def nothing_is_left_pending(self) -> None:
        if hasattr(self, "world"):
            assert self.world.pending.count(self.alice) == 0

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.sync(self.alice)
            self.compare()
            with self.world.reader(self.alice).snapshot() as snapshot:
                assert list(catalog_problems(snapshot.catalog)) == []
            self.folder.cleanup()


TestBucketAndRepository = BucketAndRepository.TestCase
TestBucketAndRepository.settings = settings(max_examples=12, stateful_step_count=25, deadline=None, derandomize=True)
