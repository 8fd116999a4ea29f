"""Other keys: a repository's signing key, its certificate and its master key are replaced, one write at a time.

Between any two writes, clients find a manifest signed with a certificate that the whitelist allows.
"""

from dataclasses import replace
from datetime import datetime

from softman.cvmfs.errors import FormatError, SignatureInvalid
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.head import Head


def rotate_signing_key(old: Head, new: Head, *, days: int, keep_old: bool) -> Manifest:
    """See ``Repository.rotate_signing_key``."""
    new.keys.check()
    if new.keys.public_key != old.keys.public_key:
        raise FormatError("a new signing key comes with the same master key; that is replaced by itself")
    with old.store.lock(old.name):
        try:
            current = old.manifest()
        except SignatureInvalid:
            current = new.manifest()  # an earlier attempt came that far
        algorithm = current.root_hash.algorithm
        new.sign_whitelist(algorithm, days, also=[old.keys.certificate])
        certificate = new.put_certificate(algorithm)
        current = new.publish(replace(current, certificate=certificate, published_at=new.not_before(current)))
        if not keep_old:
            new.sign_whitelist(algorithm, days)
        return current


def rotate_master_key(old: Head, new: Head, *, days: int) -> datetime:
    """See ``Repository.rotate_master_key``."""
    new.keys.check()
    if (new.keys.certificate, new.keys.private_key) != (old.keys.certificate, old.keys.private_key):
        raise FormatError("a new master key comes with the same signing key; that is replaced by itself")
    with old.store.lock(old.name):
        return new.sign_whitelist(old.manifest().root_hash.algorithm, days)
