"""The errors of softman.

::

    SoftmanError
    ├── TransientError            passes by itself: retried with back-off
    │   ├── ServiceUnavailable    broker, S3, Vault, Redis or web server does not answer
    │   │   └── Outage            it has not answered several times in a row, and is left alone for a while
    │   ├── Conflict              somebody else changed it first: redo on the new base
    │   └── Busy                  another holder has the lease or the lock
    └── PermanentError            will not pass by itself: stops with a reason a user can act on
        ├── InvalidInput          a name, payload or argument breaks a rule
        │   └── MalformedMessage  a body from the broker cannot be understood
        ├── NotFound              a repository, bucket, key or path does not exist
        ├── Forbidden             credentials are refused, or an owner does not match
        ├── NameTaken             the label belongs to another user or group
        ├── CandidateRefused      stratum 0 refuses to sign a candidate revision
        └── Corrupt               stored data fails verification

Every class has a stable ``code`` for logs, results and metrics. All arguments go to ``super().__init__`` so that each
error survives ``pickle`` and ``str``. Exit codes live in ``softman.cli``, retries in ``workers.base``; not here.
"""

from typing import ClassVar


class SoftmanError(Exception):
    """Root of all errors that softman raises on purpose."""

    code: ClassVar[str] = "softman"


class TransientError(SoftmanError):
    """The cause passes by itself; the same request may succeed later."""

    code = "transient"


class ServiceUnavailable(TransientError):
    """A service softman depends on does not answer, or answers that it cannot serve now."""

    code = "unavailable"


class Outage(ServiceUnavailable):
    """A service has not answered several times in a row, and is left alone for a while (``adapters.circuit``)."""

    code = "outage"


class Conflict(TransientError):
    """The state that a change was based on is no longer the current one."""

    code = "conflict"


class Busy(TransientError):
    """Another holder has the lease or the lock."""

    code = "busy"


class PermanentError(SoftmanError):
    """Trying again without a change elsewhere cannot succeed."""

    code = "permanent"


class InvalidInput(PermanentError):
    """A name, a payload or an argument breaks a rule; the message says which."""

    code = "invalid"


class MalformedMessage(InvalidInput):
    """A message body from the broker cannot be understood; it goes to the dead letters with this reason."""

    code = "malformed"


class NotFound(PermanentError):
    """The named repository, bucket, key or path does not exist."""

    code = "not-found"


class Forbidden(PermanentError):
    """Credentials are refused, or the thing belongs to somebody else."""

    code = "forbidden"


class NameTaken(PermanentError):
    """The label is already used by another user or group."""

    code = "name-taken"


class CandidateRefused(PermanentError):
    """Stratum 0 refuses to sign a candidate revision; the message says which check failed."""

    code = "candidate-refused"


class Corrupt(PermanentError):
    """Stored data fails verification: a signature, a hash or a format rule."""

    code = "corrupt"
