"""The signature block of manifest and whitelist, certificates, and the two ways in which CVMFS signs with RSA.

Both files are text lines, a line ``--``, the hash of the text in hex, and a binary RSA signature over that hex text
(``cvmfs/crypto/signature.cc``). A manifest is signed by the repository's key with RSASSA-PKCS1-v1_5 and SHA-1, whatever
the hash of the repository; a whitelist by the master key with the same padding around the bare hex text, without
DigestInfo. Padding is deterministic: signing the same text again gives the same bytes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from softman.cvmfs.errors import FormatError, HashMismatch, SignatureInvalid
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, hash_bytes

if TYPE_CHECKING:
    from cryptography import x509

_SEPARATOR = b"--\n"
_MIN_KEY_BITS = 1024
_MAX_KEY_BITS = 8192
# Fixed by the format (a SHA-256 signature is refused by every client), hence no choice of ours.
_MANIFEST_DIGEST = hashes.SHA1()  # noqa: S303 - the format says so


@dataclass(frozen=True, slots=True)
class SignedText:
    """A signed file in its parts, as read: nothing is checked yet.

    Attributes:
        text: all lines above the separator, including the last newline.
        hash: the hash printed below the separator.
        signature: everything after the hash line.
    """

    text: bytes
    hash: ContentHash
    signature: bytes

    @classmethod
    def split(cls, data: bytes, what: str) -> "SignedText":
        """Take a signed file apart.

        Args:
            data: the whole file.
            what: ``manifest`` or ``whitelist``, for messages.

        Raises:
            FormatError: the line below the separator is not a content hash.
            SignatureInvalid: there is no separator, so nothing is signed.
        """
        text, separator, block = data.partition(b"\n" + _SEPARATOR)
        if not separator:
            raise SignatureInvalid(f"{what} without signature: no line --")
        line, _, signature = block.partition(b"\n")
        try:
            printed = ContentHash.parse(line.decode("ascii"))
        except (FormatError, UnicodeDecodeError) as error:
            raise FormatError(f"{what}: the line below -- is not a content hash") from error
        return cls(text + b"\n", printed, signature)

    def check_hash(self, what: str) -> None:
        """Compare the printed hash with the text.

        Raises:
            HashMismatch: the text is not the one that was hashed.
        """
        if hash_bytes(self.text, self.hash.algorithm) != self.hash:
            raise HashMismatch(f"{what} integrity: the hash line does not match the text")


def sign_manifest(text: bytes, private_key: bytes, algorithm: HashAlgorithm) -> bytes:
    """The whole manifest file for ``text``.

    Args:
        text: the field lines, including the last newline.
        private_key: the repository's key, PEM.
        algorithm: of the repository's root hash.

    Raises:
        FormatError: ``private_key`` is no RSA private key in PEM, or ``text`` is no text to be signed.
    """
    printed = _signable(text, algorithm)
    signature = load_private_key(private_key, checked=False).sign(printed, padding.PKCS1v15(), _MANIFEST_DIGEST)
    return text + _SEPARATOR + printed + b"\n" + signature


def sign_whitelist(text: bytes, master_key: bytes, algorithm: HashAlgorithm) -> bytes:
    """The whole whitelist file for ``text``.

    Args:
        text: the lines, including the last newline.
        master_key: PEM.
        algorithm: of the repository.

    Raises:
        FormatError: ``master_key`` is no RSA private key in PEM, or ``text`` is no text to be signed.
    """
    printed = _signable(text, algorithm)
    signature = load_private_key(master_key, checked=False).sign(printed, padding.PKCS1v15(), utils.NoDigestInfo())
    return text + _SEPARATOR + printed + b"\n" + signature


def verify_manifest_signature(signed: SignedText, certificate: "x509.Certificate") -> None:
    """Check the hash line and then the signature of a manifest.

    Raises:
        FormatError: the certificate holds no RSA key.
        HashMismatch: the hash line does not match the text.
        SignatureInvalid: the signature was not made for this text with the certificate's key.
    """
    _verify_manifest(signed, _certificate_key(certificate), "with the certificate named by X")


def verify_own_signature(signed: SignedText, private_key: bytes) -> None:
    """Check a manifest as ``verify_manifest_signature`` does, with the public half of the key that is to sign the next.

    Raises:
        FormatError: ``private_key`` is no RSA private key in PEM.
        HashMismatch: the hash line does not match the text.
        SignatureInvalid: the signature was not made for this text with the key.
    """
    key = load_private_key(private_key, checked=False).public_key()
    _verify_manifest(signed, key, "with our private key: it was replaced, or these are keys of somebody else")


def _verify_manifest(signed: SignedText, key: rsa.RSAPublicKey, whose: str) -> None:
    signed.check_hash("manifest")
    _check_length(signed.signature, key, "manifest")
    try:
        key.verify(signed.signature, str(signed.hash).encode(), padding.PKCS1v15(), _MANIFEST_DIGEST)
    except InvalidSignature as error:
        raise SignatureInvalid(f"manifest signature does not verify {whose}") from error


def verify_whitelist_signature(signed: SignedText, public_key: bytes) -> None:
    """Check the hash line and then the signature of a whitelist against one public master key.

    Raises:
        FormatError: ``public_key`` is no RSA public key in PEM.
        HashMismatch: the hash line does not match the text.
        SignatureInvalid: the signature was not made for this text with this master key.
    """
    signed.check_hash("whitelist")
    key = load_public_key(public_key)
    _check_length(signed.signature, key, "whitelist")
    msg = "whitelist signature does not verify with the public master key"
    try:
        recovered = key.recover_data_from_signature(signed.signature, padding.PKCS1v15(), None)
    except InvalidSignature as error:
        raise SignatureInvalid(msg) from error
    if recovered != str(signed.hash).encode():
        raise SignatureInvalid(msg)


def load_certificate(pem: bytes) -> "x509.Certificate":
    """Parse a certificate; validity dates and issuer mean nothing in CVMFS and are not looked at.

    Raises:
        FormatError: not an X.509 certificate in PEM.
    """
    from cryptography import x509  # noqa: PLC0415 - its start takes longer than a small publish has

    try:
        return x509.load_pem_x509_certificate(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FormatError(f"not a certificate in PEM: {error}") from error


def load_private_key(pem: bytes, *, checked: bool = True) -> rsa.RSAPrivateKey:
    """Parse an unencrypted RSA private key, PKCS#1 or PKCS#8.

    Args:
        pem: the key.
        checked: look whether its numbers belong together, which takes 40 ms. Signing leaves it out: a repository's keys
            are checked when it is made, and a signature by a broken key fails verification.

    Raises:
        FormatError: not an RSA private key in PEM of 1024 to 8192 bits.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=not checked)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        msg = "not an unencrypted private key in PEM"  # never with the parser's words: they may quote the key
        raise FormatError(msg) from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise FormatError("not an RSA private key")
    _check_bits(key.key_size)
    return key


def load_public_key(pem: bytes) -> rsa.RSAPublicKey:
    """Parse an RSA public key.

    Raises:
        FormatError: not an RSA public key in PEM of 1024 to 8192 bits.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FormatError(f"not a public key in PEM: {error}") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise FormatError("not an RSA public key")
    _check_bits(key.key_size)
    return key


def fingerprint(certificate: bytes, algorithm: HashAlgorithm) -> ContentHash:
    """The digest of a certificate's DER form, by which a whitelist names it.

    Args:
        certificate: PEM.
        algorithm: any of the three, independent of the repository's.

    Raises:
        FormatError: not a certificate in PEM.
    """
    der = load_certificate(certificate).public_bytes(serialization.Encoding.DER)
    return hash_bytes(der, algorithm)


def _signable(text: bytes, algorithm: HashAlgorithm) -> bytes:
    if not text.endswith(b"\n") or b"\n" + _SEPARATOR in text:
        raise FormatError("a text to be signed ends in a newline and holds no line --")
    return str(hash_bytes(text, algorithm)).encode()


def _certificate_key(certificate: "x509.Certificate") -> rsa.RSAPublicKey:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FormatError(f"the certificate's key cannot be read: {error}") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise FormatError("the certificate holds no RSA key")
    _check_bits(key.key_size)
    return key


def _check_bits(bits: int) -> None:
    """Keep out keys that are too weak for anything, and such that make a verification slow on purpose."""
    if not _MIN_KEY_BITS <= bits <= _MAX_KEY_BITS:
        raise FormatError(f"an RSA key of {bits} bits is not accepted")


def _check_length(signature: bytes, key: rsa.RSAPublicKey, what: str) -> None:
    size = (key.key_size + 7) // 8
    if len(signature) != size:
        raise SignatureInvalid(
            f"{what} signature has {len(signature)} bytes, the key makes {size}: truncated or padded"
        )
