"""A repository's keys: the RSA pairs and the certificate that sign it, and the gateway key that proves a publisher.

Source: ``cvmfs/server/cvmfs_server_ssl.sh``, ``cvmfs/publish/settings.cc``, ``cvmfs/gateway_util.cc``. Everything here
is text in memory; where it is kept is not this module's business.
"""

import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.names import check_repository_name
from softman.cvmfs.format.signature import load_certificate, load_private_key, load_public_key

RSA_BITS: Final = 2048
CERTIFICATE_VALIDITY: Final = timedelta(days=365)
"""What stock tools give a certificate. Clients do not look at it."""

_PUBLIC_EXPONENT = 65537
_COMMON_NAME = "{} CernVM-FS Release Managers"
# X.509 limits a common name to 64 characters; stock tools cut the repository's name at 30.
_COMMON_NAME_CUT = 30
_GATEWAY_KEY_TOKENS = 3
_GATEWAY_KEY_TYPE = "plain_text"


@dataclass(frozen=True, slots=True)
class RepositoryKeys:
    """What signs a repository; all PEM, byte for byte as in the stock tools' files.

    Attributes:
        master_key: private, signs whitelists (``.masterkey``); empty where none is signed.
        public_key: its public half, which clients have (``.pub``).
        private_key: signs manifests (``.key``).
        certificate: of ``private_key`` (``.crt``).
    """

    master_key: bytes = field(repr=False)
    public_key: bytes
    private_key: bytes = field(repr=False)
    certificate: bytes

    def check(self) -> None:
        """Make sure that the parts belong together; a master key that is kept elsewhere is not asked for.

        Raises:
            FormatError: a part cannot be read, or is not the counterpart of the other.
        """
        public = load_public_key(self.public_key).public_numbers()
        if self.master_key and load_private_key(self.master_key).public_key().public_numbers() != public:
            raise FormatError("the public key is not that of the master key")
        certified = load_certificate(self.certificate).public_key()
        if not isinstance(certified, rsa.RSAPublicKey):
            raise FormatError("the certificate holds no RSA key")
        if load_private_key(self.private_key).public_key().public_numbers() != certified.public_numbers():
            raise FormatError("the certificate is not that of the private key")


def generate_keys(repository: str, now: datetime, *, master_key: bytes | None = None) -> RepositoryKeys:
    """New keys for ``repository``; takes some tenths of a second.

    Args:
        repository: fully qualified name; goes into the certificate's subject.
        now: when the certificate's validity begins.
        master_key: one that is there already, PEM: all repositories of a domain may share it.

    Raises:
        FormatError: ``repository`` is no repository name, or ``master_key`` no RSA private key in PEM.
    """
    check_repository_name(repository)
    if master_key is None:
        master_key = _private_pem(_generate())
    private = _generate()
    return RepositoryKeys(
        master_key=master_key,
        public_key=_public_pem(load_private_key(master_key)),
        private_key=_private_pem(private),
        certificate=_self_signed(repository, private, now),
    )


def renew_signing_key(repository: str, keys: RepositoryKeys, now: datetime) -> RepositoryKeys:
    """``keys`` with another signing key and its certificate; the master key stays.

    Raises:
        FormatError: ``repository`` is no repository name.
    """
    private = _generate()
    certificate = _self_signed(check_repository_name(repository), private, now)
    return replace(keys, private_key=_private_pem(private), certificate=certificate)


def renew_master_key(keys: RepositoryKeys) -> RepositoryKeys:
    """``keys`` with another master key; the signing key and its certificate stay."""
    master_key, public_key = generate_master_key()
    return replace(keys, master_key=master_key, public_key=public_key)


def generate_master_key() -> tuple[bytes, bytes]:
    """A new master key and its public half, PEM."""
    master = _generate()
    return _private_pem(master), _public_pem(master)


def renew_certificate(repository: str, private_key: bytes, now: datetime) -> bytes:
    """A fresh certificate, PEM, for a key that stays. The whitelist must list its fingerprint before it is used.

    Raises:
        FormatError: ``repository`` is no repository name, or ``private_key`` no RSA private key in PEM.
    """
    return _self_signed(check_repository_name(repository), load_private_key(private_key), now)


@dataclass(frozen=True, slots=True)
class GatewayKey:
    """The secret a publisher shares with the gateway or stratum 0, and the name it goes by.

    Raises:
        FormatError: a part is empty or holds white space.
    """

    key_id: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        for part in (self.key_id, self.secret):
            if len(part.split()) != 1 or part.split()[0] != part:
                raise FormatError("a gateway key's id and secret are words without white space")

    @classmethod
    def parse(cls, text: str) -> "GatewayKey":
        """Read a gateway key file, ``plain_text <key id> <secret>``.

        Raises:
            FormatError: not exactly three words, or the first is another one.
        """
        words = text.split()
        if len(words) != _GATEWAY_KEY_TOKENS or words[0] != _GATEWAY_KEY_TYPE:
            msg = "not a gateway key: expected 'plain_text', a key id and a secret"  # the text may hold the secret
            raise FormatError(msg)
        return cls(words[1], words[2])

    def to_text(self) -> str:
        """The key file's content, one line."""
        return f"{_GATEWAY_KEY_TYPE} {self.key_id} {self.secret}\n"


def generate_gateway_key() -> GatewayKey:
    """A new gateway key: 128 random bits of id, 256 of secret, both hex."""
    return GatewayKey(secrets.token_hex(16), secrets.token_hex(32))


def _generate() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=_PUBLIC_EXPONENT, key_size=RSA_BITS)


def _private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _self_signed(repository: str, key: rsa.RSAPrivateKey, now: datetime) -> bytes:
    from cryptography import x509  # noqa: PLC0415 - takes a while, and only new keys need it

    shown = repository if len(repository) <= _COMMON_NAME_CUT else repository[:_COMMON_NAME_CUT] + "[...]"
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _COMMON_NAME.format(shown))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + CERTIFICATE_VALIDITY)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)
