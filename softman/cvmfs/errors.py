"""The errors of ``softman.cvmfs``.

::

    CvmfsError
    ├── FormatError              bytes do not have the form the format asks for
    ├── VerificationError        well-formed, but not what was signed or named
    │   ├── HashMismatch         an object's content does not have the hash it is named by
    │   ├── SignatureInvalid     a signature does not belong to the text or the key
    │   ├── WhitelistExpired     the whitelist's validity is over
    │   ├── CertificateNotListed the certificate's fingerprint is not in the whitelist
    │   ├── WrongRepository      a manifest or whitelist names another repository
    │   ├── ManifestOutdated     a manifest is older than one seen before
    │   └── TooLarge             an object inflates beyond the size announced or allowed
    ├── StoreError
    │   ├── ObjectMissing        a file that should be in the store is not there
    │   └── StoreUnavailable     the store does not answer now; trying later may succeed
    ├── PathError                a repository path does not exist, has the wrong type or an illegal form
    ├── RepositoryExists         create: the storage already holds a repository with other keys
    ├── RevisionConflict         the base of a candidate is not the current revision
    │   └── PathConflict         a revision published meanwhile changed the same path
    ├── CandidateRejected        a candidate breaks a rule; nothing was published
    │   └── CandidateIncomplete  it counts on an object that is neither staged nor stored; staging it anew may succeed
    ├── TagError                 a tag is not there, is there already, or cannot have its name
    ├── RevisionMissing          a revision never was, or was collected
    ├── SourceError              what is to be published cannot be read, is damaged, or changed meanwhile
    └── GatewayError             a repository gateway did not do what it was asked, and would not do it again
        ├── GatewayRefused       it does not accept the key, the path, the repository or the request
        ├── LeaseBusy            another publisher has the path
        ├── LeaseLost            the lease is over, or can do no more; begin again with a new one
        └── GatewayUnavailable   it gives no answer, or one that says nothing about what was done
"""

from typing import ClassVar


class CvmfsError(Exception):
    """Root of all errors that this library raises on purpose."""

    code: ClassVar[str] = "cvmfs"


class FormatError(CvmfsError):
    """Bytes do not have the form the CVMFS format asks for."""

    code = "format"


class VerificationError(CvmfsError):
    """Data is well-formed but is not what was signed or named."""

    code = "verification"


class HashMismatch(VerificationError):
    """An object's content does not have the hash it is named by."""

    code = "hash-mismatch"


class SignatureInvalid(VerificationError):
    """A signature does not belong to the text or to the key."""

    code = "signature-invalid"


class WhitelistExpired(VerificationError):
    """The validity of the whitelist is over (hour granularity, like the stock client)."""

    code = "whitelist-expired"


class CertificateNotListed(VerificationError):
    """The fingerprint of the signing certificate is not in the whitelist."""

    code = "certificate-not-listed"


class WrongRepository(VerificationError):
    """A manifest or whitelist names another repository than the one asked for."""

    code = "wrong-repository"


class ManifestOutdated(VerificationError):
    """A manifest is older than one seen before: replayed, or from a server that lags behind."""

    code = "manifest-outdated"


class TooLarge(VerificationError):
    """An object is, or inflates to, more bytes than announced or allowed."""

    code = "too-large"


class StoreError(CvmfsError):
    """A store could not do what it was asked."""

    code = "store"


class ObjectMissing(StoreError):
    """A file that should be in the store is not there."""

    code = "object-missing"


class StoreUnavailable(StoreError):
    """The store does not answer now; trying later may succeed."""

    code = "store-unavailable"


class PathError(CvmfsError):
    """A repository path does not exist, has the wrong type, or an illegal form."""

    code = "path"


class RepositoryExists(CvmfsError):
    """The storage already holds a repository of this name, made with other keys."""

    code = "repository-exists"


class RevisionConflict(CvmfsError):
    """The revision that a candidate is based on is not the current one.

    Args:
        message: what happened.
        revision: the current revision.
        root_hash: the current root catalog, as text.
    """

    code = "revision-conflict"

    def __init__(self, message: str, revision: int = 0, root_hash: str = "") -> None:
        super().__init__(message, revision, root_hash)
        self.revision = revision
        self.root_hash = root_hash

    def __str__(self) -> str:
        return str(self.args[0])


class PathConflict(RevisionConflict):
    """A transaction changed a path that a revision published meanwhile changed, too; nothing was published.

    Args:
        message: what happened.
        path: where.
    """

    code = "path-conflict"

    def __init__(self, message: str, path: bytes = b"") -> None:
        super().__init__(message)
        self.args = (message, path)
        self.path = path


class CandidateRejected(CvmfsError):
    """A candidate revision breaks a rule; nothing was published."""

    code = "candidate-rejected"


class CandidateIncomplete(CandidateRejected):
    """A candidate counts on an object that is neither staged nor stored, as after a garbage collection in between.

    Nothing was published. Staging its content anew may succeed.
    """

    code = "candidate-incomplete"


class TagError(CvmfsError):
    """There is no such tag, there is one already, or a tag cannot have this name."""

    code = "tag"


class RevisionMissing(CvmfsError):
    """A revision never was, or was taken by garbage collection."""

    code = "revision-missing"


class SourceError(CvmfsError):
    """A directory or archive to be published cannot be read, is damaged, or changed while it was read."""

    code = "source"


class GatewayError(CvmfsError):
    """A repository gateway did not do what it was asked, and would not do it again."""

    code = "gateway"


class GatewayRefused(GatewayError):
    """The gateway does not accept the key, the path, the repository or the request."""

    code = "gateway-refused"


class LeaseBusy(GatewayError):
    """Another publisher has a lease on the path, on one above it or on one below.

    Args:
        message: what happened.
        seconds: until that lease ends at the latest.
    """

    code = "lease-busy"

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message, seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return str(self.args[0])


class LeaseLost(GatewayError):
    """The lease is over, or can do no more; what was sent under it is void. Begin again with a new one."""

    code = "lease-lost"


class GatewayUnavailable(GatewayError):
    """The gateway gives no answer, or one that says nothing about what was done: a commit may have happened."""

    code = "gateway-unavailable"
