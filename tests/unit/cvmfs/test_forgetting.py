"""A repository whose tag database is lost."""

from pathlib import Path

import pytest

from softman.cvmfs.errors import CvmfsError, TagError
from softman.cvmfs.forgetting import forget_lost_tags
from softman.cvmfs.format.hashes import ObjectKind
from softman.cvmfs.head import Head
from softman.cvmfs.integrity import Extent, check_repository
from tests.support.writing import Workshop, add, object_file

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("damage", [None, b"no tag database"])
def test_a_lost_tag_database_is_begun_anew(tmp_path: Path, damage: bytes | None) -> None:
    workshop = Workshop(tmp_path / "repository")
    workshop.create()
    workshop.publish(add("/a"))
    workshop.repository.add_tag("v1")
    head = Head(workshop.store, workshop.name, workshop.keys, now=workshop.now)
    with pytest.raises(TagError, match="whole"):
        forget_lost_tags(head)
    before = workshop.repository.manifest()
    assert before.history is not None
    file = object_file(workshop.root, before.history, ObjectKind.HISTORY)
    file.unlink()
    if damage is not None:
        file.write_bytes(damage)
    with pytest.raises(CvmfsError):
        workshop.publish(add("/b"))

    after = forget_lost_tags(head)
    assert (after.revision, after.root_hash) == (before.revision, before.root_hash)
    assert [tag.name for tag in workshop.repository.history().tags] == ["trunk"]
    workshop.publish(add("/b"))
    workshop.repository.add_tag("v1", revision=before.revision)
    assert {tag.name for tag in workshop.repository.history().tags} == {"trunk", "trunk-previous", "v1"}
    key = workshop.keys.public_key
    assert (
        list(check_repository(workshop.store, workshop.name, [key], now=workshop.now, extent=Extent(tags=True))) == []
    )
