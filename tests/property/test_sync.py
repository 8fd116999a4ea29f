"""Generated sequences of puts, overwrites, copies and deletes: the repository equals a model of the bucket.

Events may be delivered late, twice, in any order and folded; a reconciliation may come at any time. Files, folders,
links and archives claim each other's places, catalogs are split and merged, and the owner changes the configuration.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from softman.cvmfs.balancing import Balance
from softman.cvmfs.store.local import LocalStore
from softman.model import CommitRequest
from softman.services.configuration import CONFIGURATION_KEY
from softman.services.mapping import Rules
from softman.services.sync import SliceLimits
from tests.support.bucket_model import (
    CLASSES,
    CONFIGURATIONS,
    CONTENT,
    METADATA,
    Objects,
    expected,
    of_the_owner,
    rules_after,
)
from tests.support.catalogs import stored_catalogs
from tests.support.world import LIMITS, World, make_material

KEYS = st.sampled_from([f"cvmfs/{key}" for key in CLASSES])


MATERIAL = make_material()


class BucketAndRepository(RuleBasedStateMachine):
    """One bucket, its repository, and what is still under way between them."""

    @initialize(balance=st.sampled_from([None, Balance(6, 3)]), objects=st.sampled_from([1000, 2]))
    def begin(self, balance: Balance | None, objects: int) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="softman-property-")
        limits = replace(LIMITS, balance=balance, slice=SliceLimits(objects, 10**9, 60.0))
        self.world = World(Path(self.folder.name), MATERIAL, limits=limits)
        self.alice = self.world.provision("alice")
        self.objects: Objects = {}
        self.undelivered: set[str] = set()
        self.mapping = Rules("alice.example.org")

    @rule(key=KEYS, data=st.data(), metadata=st.sampled_from(METADATA))
    def put(self, key: str, data: st.DataObject, metadata: dict[str, str]) -> None:
        self._put(key, data.draw(st.sampled_from(CONTENT[CLASSES[key.removeprefix("cvmfs/")]])), metadata)

    @rule(content=st.sampled_from(CONFIGURATIONS))
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

    @rule(key=KEYS, data=st.data(), metadata=st.sampled_from(METADATA), gone=KEYS)
    def keys_change_while_everything_is_compared(
        self, key: str, data: st.DataObject, metadata: dict[str, str], gone: str
    ) -> None:
        content = data.draw(st.sampled_from(CONTENT[CLASSES[key.removeprefix("cvmfs/")]]))
        before = self.world.door.before

        def meanwhile(_request: CommitRequest) -> None:
            self.world.door.before = before
            self.delete(gone)
            self._put(key, content, metadata)
            self.world.pending.add(self.alice, frozenset({key, gone}))
            self.undelivered -= {key, gone}

        self.undelivered.clear()
        self.world.door.before = meanwhile
        self.sync()
        self.world.door.before = before
        self.compare()

    @rule()
    def redis_is_flushed(self) -> None:
        self.world.pending.flush()

    def sync(self, *keys: str) -> None:
        self.world.sync(self.alice, *keys)
        self.mapping = rules_after(self.alice, self.objects, self.mapping)

    def compare(self) -> None:
        depth = self.mapping.configuration.catalog_depth
        wanted, everything = expected(self.objects, self.mapping), self.world.shown(self.alice)
        assert of_the_owner(everything, wanted) == wanted
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
