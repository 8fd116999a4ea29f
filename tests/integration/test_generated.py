"""Generated sequences of what people do to a bucket, on the real stack: the repository equals a model of the bucket.

``SOFTMAN_GENERATED_EXAMPLES=100`` makes so many sequences instead of a few.
"""

import os
from collections import Counter
from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from softman.adapters.s3_client import s3_client
from softman.adapters.s3_connector import S3Connector
from softman.cli.backend import ServiceBackend
from softman.cli.main import run
from softman.names import RepositoryName
from softman.services.configuration import CONFIGURATION_KEY
from softman.services.mapping import Rules
from tests.support.bucket_model import (
    CLASSES,
    CONFIGURATIONS,
    CONTENT,
    METADATA,
    Objects,
    expected,
    of_the_owner,
    rules_after,
    shown_by,
)
from tests.support.site import Site

EXAMPLES = "SOFTMAN_GENERATED_EXAMPLES"
OWNER = "generated"
STEPS = 40
LARGE = [bytes(range(256)) * 800, b"".join(n.to_bytes(4) * 25 for n in range(100_000)), b"small now"]
"""Beyond the sizes up to which objects are read together, and in one piece."""
KEYS = st.sampled_from([f"cvmfs/{key}" for key in CLASSES])
FOLDERS = st.sampled_from(["cvmfs/a/", "cvmfs/d/", "cvmfs/d/e/", "cvmfs/moved/", "cvmfs/moved/again/"])
RESYNCS = st.sampled_from([(), ("--verify",), ("--prefix", "cvmfs/")])


class Bucket(RuleBasedStateMachine):
    """One bucket, which other sequences have left behind, and its repository."""

    site: ClassVar[Site]
    name: ClassVar[RepositoryName]
    steps: ClassVar[list[str]] = []
    """What all sequences did."""

    def __init__(self) -> None:
        super().__init__()
        self.s3 = s3_client(self.site.access(self.name), connections=1)
        self.connector = S3Connector.from_settings(self.site.settings.s3)
        self.objects: Objects = {}
        self.mapping = Rules(str(self.name))
        self.heard = True
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=OWNER):
            self.delete_keys([item["Key"] for item in page.get("Contents", [])])

    @rule(key=KEYS, data=st.data(), metadata=st.sampled_from(METADATA))
    def put(self, key: str, data: st.DataObject, metadata: dict[str, str]) -> None:
        content = data.draw(st.sampled_from(CONTENT[CLASSES[key.removeprefix("cvmfs/")]]))
        self.put_key(key, content, metadata)

    @rule(key=st.sampled_from(["cvmfs/large", "cvmfs/d/large"]), content=st.sampled_from(LARGE))
    def put_large(self, key: str, content: bytes) -> None:
        self.put_key(key, content, {})

    @rule(content=st.sampled_from(CONFIGURATIONS))
    def configure(self, content: bytes) -> None:
        self.put_key(CONFIGURATION_KEY, content, {})

    @rule(data=st.data())
    def overwrite(self, data: st.DataObject) -> None:
        if keys := sorted(self.objects.keys() & {f"cvmfs/{key}" for key in CLASSES}):
            self.put(data.draw(st.sampled_from(keys)), data, data.draw(st.sampled_from(METADATA)))

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.objects:
            self.delete_keys([data.draw(st.sampled_from(sorted(self.objects)))])

    @rule(folder=FOLDERS)
    def delete_folder(self, folder: str) -> None:
        self.delete_keys([key for key in self.objects if key.startswith(folder)])

    @rule(folder=FOLDERS, other=FOLDERS, keep=st.booleans())
    def copy_or_rename_folder(self, folder: str, other: str, keep: bool) -> None:
        there = sorted(key for key in self.objects if key.startswith(folder))
        for key in there if not other.startswith(folder) else ():
            copy = other + key.removeprefix(folder)
            self.s3.copy_object(Bucket=OWNER, Key=copy, CopySource={"Bucket": OWNER, "Key": key})
            self.objects[copy] = self.objects[key]
        if not keep and not other.startswith(folder):
            self.delete_keys(there)
        self.steps.append("copy or rename")

    @rule()
    def look(self) -> None:
        self.settle()

    @rule(options=RESYNCS)
    def resync(self, options: tuple[str, ...]) -> None:
        self.settle(*options, resync=True)

    @rule(heard=st.booleans())
    def lose_events_or_not(self, heard: bool) -> None:
        if self.heard and not heard:
            self.settle()
            self.connector.remove_notification(OWNER)
        elif heard and not self.heard:
            self.connector.ensure_notification(OWNER)
            self.settle(resync=True)
        self.heard = heard

    def put_key(self, key: str, content: bytes, metadata: dict[str, str]) -> None:
        self.s3.put_object(Bucket=OWNER, Key=key, Body=content, Metadata=metadata)
        self.objects[key] = content, metadata
        self.steps.append("put")

    def delete_keys(self, keys: list[str]) -> None:
        if keys:
            self.s3.delete_objects(Bucket=OWNER, Delete={"Objects": [{"Key": key} for key in keys]})
        self.objects = {key: value for key, value in self.objects.items() if key not in keys}
        self.steps.append("delete")

    def settle(self, *options: str, resync: bool = False) -> None:
        """Wait until the repository shows what the bucket says, and nothing else."""
        if resync or not self.heard:
            assert run(["resync", OWNER, *options], ServiceBackend(self.site.settings)) == 0
        self.mapping = rules_after(self.name, self.objects, self.mapping)
        wanted = expected(self.objects, self.mapping)
        self.site.wait(
            lambda: of_the_owner(shown_by(self.site.reader(self.name)), wanted) == wanted,
            f"{self.name} shows {sorted(wanted)} of {sorted(self.objects)}",
        )
        self.steps.append("compare")

    def teardown(self) -> None:
        self.lose_events_or_not(heard=True)
        self.settle()


def test_any_sequence(site: Site) -> None:
    name = site.provision(OWNER)
    examples = int(os.environ.get(EXAMPLES, "3"))

    class Sequence(Bucket):
        pass

    Sequence.site, Sequence.name, Sequence.steps = site, name, []
    how = settings(
        max_examples=examples, stateful_step_count=STEPS, deadline=None, derandomize=True, phases=[Phase.generate],
        print_blob=False, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(Sequence, settings=how)
    counts: Counter[str] = Counter(Sequence.steps)
    print(f"\n{sum(counts.values())} steps: {dict(counts)}")  # noqa: T201 - for who asked for many
    assert counts["compare"] >= examples
