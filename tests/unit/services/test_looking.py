"""Which objects are looked at together, and what becomes of those with which something is wrong."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from softman.adapters.memory import MemoryBody, MemoryBuckets
from softman.adapters.ports import SMALL
from softman.cvmfs.staging import Staging
from softman.cvmfs.store import MemoryStore
from softman.errors import ServiceUnavailable
from softman.services.archives.limits import ArchiveLimits
from softman.services.looking import TOGETHER, Looking
from softman.services.mapping import Rules, Target
from softman.services.observe import Gone, Observer, Seen


class Bucket(MemoryBuckets):
    """Alice's bucket, which notes what is asked for together."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__(users=("alice",))
        self.ensure_bucket("alice", "alice")
        self.together: list[list[str]] = []
        self.broken = broken

    def read_small(self, bucket: str, keys: Iterable[str]) -> Iterator[MemoryBody]:
        self.together.append(list(keys))
        for body in super().read_small(bucket, keys):
            yield body
            if self.broken:
                msg = "the object store went away"
                raise ServiceUnavailable(msg)


def look(bucket: Bucket, sizes: dict[str, int | None], scratch: Path) -> list[object]:
    observer = Observer(
        bucket,
        "alice",
        Staging(MemoryStore().new_area()),
        Rules("alice.example.org"),
        admit=lambda _target, _info: None,
        archives=ArchiveLimits(),
        scratch=scratch,
    )
    with ThreadPoolExecutor(1) as executor, ThreadPoolExecutor(1) as small:
        looking = Looking(observer, executor, small)
        looks = [looking.start(Target(key, b"/" + key.encode()), None, size) for key, size in sizes.items()]
        return [each.result() for each in looks]


@pytest.mark.parametrize("broken", [False, True])
def test_small_objects_are_looked_at_together_and_all_are_seen(broken: bool, tmp_path: Path) -> None:
    bucket = Bucket(broken=broken)
    sizes: dict[str, int | None] = {f"cvmfs/{number}": 3 for number in range(TOGETHER)}
    for key in sizes:
        bucket.put("alice", key, b"abc")
    bucket.put("alice", "cvmfs/large", bytes(SMALL + 1))
    bucket.put("alice", "cvmfs/unknown", bytes(SMALL + 1))
    sizes |= {"cvmfs/large": SMALL + 1, "cvmfs/unknown": None, "cvmfs/gone": 1}
    seen = look(bucket, sizes, tmp_path)
    assert [each.target.key for each in seen if isinstance(each, Seen)] == [*sizes][:-1]
    assert isinstance(seen[-1], Gone)
    assert bucket.together == [[*sizes][:TOGETHER], ["cvmfs/unknown", "cvmfs/gone"]]
