"""CernVM-FS repositories, read and written without FUSE, root rights or the official tools.

A library of its own: it imports nothing else of softman and has its own error root, ``CvmfsError``. ``format`` is pure
(bytes in, bytes out); beside it live the stores, the verifying reader and the writer.

::

    repository = Repository(LocalStore(Path("/srv/cvmfs/sw.example.org")), "sw.example.org", keys, now=clock)
    with repository.transaction() as tx:
        tx.add_tree("/release", Path("release.tar"))
        tx.add_bytes("/VERSION", b"12")
        tx.remove("/old")
    print(tx.result.manifest.revision)
"""
