"""Other keys: a repository's signing key, its certificate and its master key are replaced, one write at a time.

Between any two writes, clients find a manifest signed with a certificate that the whitelist allows.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from softman.cvmfs.errors import (
    CertificateNotListed,
    FormatError,
    HashMismatch,
    ObjectMissing,
    SignatureInvalid,
    VerificationError,
    WrongRepository,
)
from softman.cvmfs.format.keys import RepositoryKeys
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.whitelist import WHITELIST_NAME, Whitelist
from softman.cvmfs.head import Head
from softman.cvmfs.verify import verify_whitelist


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
        new.sign_whitelist(algorithm, days, also=[old.keys.certificate, old.certificate_of(current)])
        current = _sign_again(new, current)
        if not keep_old:
            new.sign_whitelist(algorithm, days)
        return current


def switch_signing_key(old: Head, keys: RepositoryKeys) -> Manifest:
    """Sign with another key and certificate, which the whitelist lists already; may be repeated.

    Args:
        old: the repository with the keys it was signed with.
        keys: the other ones. No master key is needed.

    Returns:
        The manifest, signed with them.

    Raises:
        CertificateNotListed: the whitelist does not list the new certificate yet. Nothing was changed.
        FormatError: the keys do not belong together.
        SignatureInvalid: the repository is signed neither with the old nor with the new key.
    """
    keys.check()
    new = old.with_keys(keys)
    with old.store.lock(old.name):
        if not new.whitelist().lists(keys.certificate):
            raise CertificateNotListed("the whitelist does not list the new certificate yet")
        try:
            current = new.manifest()
        except SignatureInvalid:
            current = old.manifest()
        else:
            if new.certificate_of(current) == keys.certificate:
                return current  # an earlier attempt came that far
        return _sign_again(new, current)


def rotate_master_key(old: Head, new: Head, *, days: int) -> datetime:
    """See ``Repository.rotate_master_key``."""
    new.keys.check()
    if (new.keys.certificate, new.keys.private_key) != (old.keys.certificate, old.keys.private_key):
        raise FormatError("a new master key comes with the same signing key; that is replaced by itself")
    with old.store.lock(old.name):
        return new.resign_whitelist(old.manifest(), days)


def put_whitelist(head: Head, data: bytes) -> Whitelist:
    """Replace the whitelist by one that was signed elsewhere, after the same checks as a client's.

    Args:
        head: the repository; its certificate is the one that must be listed.
        data: the file, signed.

    Raises:
        VerificationError, FormatError: see ``verify.verify_whitelist``. Nothing was changed.
        CertificateNotListed: it does not list the certificate in use.
        VerificationError: it was made before the one in force.
    """
    fresh = verify_whitelist(data, [head.keys.public_key], head.name, head.now())
    if not fresh.lists(head.keys.certificate):
        raise CertificateNotListed("the whitelist does not list the certificate in use")
    with head.store.lock(head.name):
        with suppress(ObjectMissing, SignatureInvalid):  # not made yet, or about to be signed with our key
            if not fresh.lists(head.certificate_of(head.manifest())):
                raise CertificateNotListed("the whitelist does not list the certificate that the manifest names")
        with suppress(ObjectMissing, FormatError, SignatureInvalid, WrongRepository, HashMismatch):
            if fresh.created < head.whitelist().created:
                raise VerificationError(
                    f"the whitelist of {fresh.created:%Y-%m-%d %H:%M} is older than the one in force"
                )
        head.store.put(WHITELIST_NAME, data, durable=True)
    return fresh


def _sign_again(head: Head, current: Manifest) -> Manifest:
    """The same revision, signed with the keys of ``head``."""
    certificate = head.put_certificate(current.root_hash.algorithm)
    return head.publish(replace(current, certificate=certificate, published_at=head.not_before(current)))
