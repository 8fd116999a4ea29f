"""Whether to believe a manifest: from the master key over whitelist and certificate to the manifest's signature.

Pure: bytes and a clock come in, a manifest or a named error comes out, nothing is fetched. The order is that of the
stock client (``cvmfs/manifest_fetch.cc``, ``cvmfs/whitelist.cc``); every step says in its message which check failed.
The numbers in comments are the failures of ``manifest_fetch.h``, for those who compare with a client's log.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from softman.cvmfs.errors import (
    CertificateNotListed,
    FormatError,
    HashMismatch,
    ManifestOutdated,
    SignatureInvalid,
    TooLarge,
    WhitelistExpired,
    WrongRepository,
)
from softman.cvmfs.format.hashes import ContentHash, hash_bytes
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import decompress
from softman.cvmfs.format.signature import (
    SignedText,
    load_certificate,
    verify_manifest_signature,
    verify_whitelist_signature,
)
from softman.cvmfs.format.whitelist import Whitelist

MAX_CERTIFICATE_SIZE: Final = 64 * 1024
"""Bytes of a certificate, stored and inflated. It is read before any signature is checked, hence by anybody's word."""


def verify_manifest(
    manifest_bytes: bytes,
    whitelist_bytes: bytes,
    certificate_bytes: bytes,
    public_keys: Sequence[bytes],
    *,
    repository: str,
    now: datetime,
    known: Manifest | None = None,
) -> Manifest:
    """Verify a manifest completely.

    Args:
        manifest_bytes: the file ``.cvmfspublished``.
        whitelist_bytes: the file ``.cvmfswhitelist``.
        certificate_bytes: the object named by the manifest's ``X``, as stored (compressed).
        public_keys: public master keys, PEM; one of them must have signed the whitelist.
        repository: the name that was asked for.
        now: for the whitelist's expiry; with a time zone.
        known: the manifest seen last, if any; an older one is refused.

    Returns:
        The manifest, to be believed.

    Raises:
        FormatError: a file has not the form it should have.
        WrongRepository: manifest or whitelist are for another repository.
        ManifestOutdated: the manifest is older than ``known``.
        TooLarge: the certificate inflates beyond all measure.
        HashMismatch: the certificate, or a signed text, has not the hash it should have.
        SignatureInvalid: a file is not signed, or not with the right key.
        WhitelistExpired: the whitelist's validity is over.
        CertificateNotListed: the certificate is not in the whitelist.
    """
    read = Manifest.from_bytes(manifest_bytes)  # 2, and 4 for R
    manifest = read.manifest
    check_manifest(manifest, repository, known=known)
    certificate = verify_certificate(certificate_bytes, manifest.certificate)
    verify_manifest_signature(read.signed, load_certificate(certificate))  # 7
    whitelist = verify_whitelist(whitelist_bytes, public_keys, repository, now)
    if not whitelist.lists(certificate):  # 9
        raise CertificateNotListed("the certificate's fingerprint is not in the whitelist")
    return manifest


def check_manifest(manifest: Manifest, repository: str, *, known: Manifest | None = None) -> None:
    """The checks that need no key; they come first, so that nothing is fetched for the wrong manifest.

    Raises:
        WrongRepository: it is for another repository.
        ManifestOutdated: it is older than ``known``, by time or by revision.
    """
    if manifest.repository != repository:  # 3
        raise WrongRepository(f"the manifest is for {manifest.repository}, not {repository}")
    if known is not None and (manifest.published_at < known.published_at or manifest.revision < known.revision):  # 5
        raise ManifestOutdated(
            f"the manifest (revision {manifest.revision}) is older than the last one seen (revision {known.revision})"
        )


def verify_certificate(stored: bytes, name: ContentHash) -> bytes:
    """The certificate in an object.

    Args:
        stored: the object's bytes.
        name: the hash by which a manifest names it.

    Returns:
        The certificate, PEM.

    Raises:
        HashMismatch: the object has another hash.
        TooLarge: it inflates to more than any certificate has.
        FormatError: it is no certificate.
    """
    if hash_bytes(stored, name.algorithm) != name:
        raise HashMismatch("the certificate object does not match its hash")
    try:
        pem = decompress(stored, max_size=MAX_CERTIFICATE_SIZE)  # 6
    except TooLarge as error:
        raise TooLarge(f"certificate object too large: over {MAX_CERTIFICATE_SIZE} bytes") from error
    load_certificate(pem)
    return pem


def verify_whitelist(data: bytes, public_keys: Sequence[bytes], repository: str, now: datetime) -> Whitelist:
    """Verify a whitelist: signature, name, validity.

    Args:
        data: the file.
        public_keys: public master keys, PEM; one of them must have signed it.
        repository: the name that was asked for.
        now: with a time zone.

    Raises:
        FormatError: the file has not the form of a whitelist, or a key cannot be read.
        HashMismatch: the hash line does not match the text.
        SignatureInvalid: no key given has signed it.
        WrongRepository: it is for another repository.
        WhitelistExpired: its validity is over.
    """
    read = Whitelist.from_bytes(data)  # 8, as all that follows
    _signed_by_any(read.signed, public_keys)
    whitelist = read.whitelist
    if whitelist.repository != repository:
        raise WrongRepository(f"the whitelist is for {whitelist.repository}, not {repository}")
    if whitelist.is_expired(now):
        raise WhitelistExpired(f"the whitelist expired at {whitelist.expires:%Y-%m-%d %H:%M} UTC")
    return whitelist


def _signed_by_any(signed: SignedText, public_keys: Sequence[bytes]) -> None:
    refused: FormatError | SignatureInvalid = SignatureInvalid(
        "no public master key given to verify the whitelist with"
    )
    for key in public_keys:
        try:
            verify_whitelist_signature(signed, key)
        except (FormatError, SignatureInvalid) as error:
            refused = error
        else:
            return
    raise refused
