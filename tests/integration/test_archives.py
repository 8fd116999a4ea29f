"""Archives in a real bucket: unpacked, replaced, kept when they are damaged, and gone when they are removed."""

import gzip

from tests.support.site import Site
from tests.support.tars import archive, hard_link, member, symlink, zstd


def test_a_tree_follows_its_archive(site: Site) -> None:
    name = site.provision("archives")
    bucket = site.bucket("archives")
    first = archive(
        member(b"bin/tool", b"1" * 100_000), hard_link(b"bin/same", b"bin/tool"), symlink(b"l", b"bin/tool")
    )
    bucket.put("soft/x.tar.gz", gzip.compress(first))
    content = {"/soft/x/.cvmfscatalog": b"", "/soft/x/bin/tool": b"1" * 100_000, "/soft/x/bin/same": b"1" * 100_000}
    site.shows(name, content)

    bucket.put("soft/x.tar.gz", gzip.compress(archive(member(b"other", b"2"))))
    second = {"/soft/x/.cvmfscatalog": b"", "/soft/x/other": b"2"}
    site.shows(name, second)

    bucket.put("soft/x.tar.gz", gzip.compress(first)[:-50])
    site.wait(lambda: len(site.described(name).refusals) == 1, "the damaged archive is reported")
    (refusal,) = site.described(name).refusals
    assert refusal.key == "cvmfs/soft/x.tar.gz"
    assert "cut short" in refusal.reason
    assert site.shown(name) == second

    bucket.put("y.tar.zst", zstd.compress(archive(member(b"deep/er", b"3"))))
    bucket.delete("soft/x.tar.gz")
    site.shows(name, {"/y/.cvmfscatalog": b"", "/y/deep/er": b"3"})
