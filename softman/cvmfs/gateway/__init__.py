"""The repository gateway's protocol, without its transport: bytes in, bytes out.

A publisher takes a lease on a path, sends the objects of the next revision in object packs, and commits the lease.
``messages`` has the requests and answers, ``authorization`` the proof of the key, ``packs`` the objects. Source of the
facts: ``gateway/internal/gateway``, ``cvmfs/session_context.cc`` and ``cvmfs/pack.cc`` of CernVM-FS 2.12 (see
``docs/gateway.md``).
"""
