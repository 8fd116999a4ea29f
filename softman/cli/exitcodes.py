"""Exit codes of ``softman``: one per error class, and what a person may do next.

The table is part of the interface: codes are never given a new meaning. ``docs/commands.md`` shows it to users.
"""

from dataclasses import dataclass

from softman import errors
from softman.cli import failures
from softman.cvmfs import errors as cvmfs

OK = 0
BUG = 1
"""Not an error that softman raises on purpose; ``--debug`` shows where it came from."""
USAGE = 2
"""The command line itself is wrong."""
LOCAL = 4
"""A local file or program could not be used."""
UNHEALTHY = 6
"""``softman doctor`` found something broken."""
INTERRUPTED = 130
"""Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an error means for the caller of the command."""

    code: int
    next_step: str
    """What to do next; empty when the message says all."""


_WAIT = "it passes by itself; try again in a moment"
_TAMPERED = "do not trust this source; if it is yours, run: softman status"

OUTCOMES: dict[type[Exception], Outcome] = {
    failures.Mismatch: Outcome(3, "run it again with --keep to look at the logs"),
    failures.WaitedTooLong: Outcome(5, "it may still happen; softman status shows how it stands"),
    errors.SoftmanError: Outcome(10, ""),
    errors.PermanentError: Outcome(11, ""),
    errors.InvalidInput: Outcome(12, ""),
    errors.MalformedMessage: Outcome(13, "look at it in the queue softman.dead"),
    errors.NotFound: Outcome(14, ""),
    errors.Forbidden: Outcome(15, "check the credentials, or ask the owner"),
    errors.NameTaken: Outcome(16, "choose another name, or ask an administrator for an alias"),
    errors.CandidateRefused: Outcome(17, "the bucket is unharmed; correct what the message names"),
    errors.Corrupt: Outcome(18, _TAMPERED),
    errors.TransientError: Outcome(20, _WAIT),
    errors.ServiceUnavailable: Outcome(21, "is it running? softman up starts an embedded stack"),
    errors.Outage: Outcome(24, "is it running? it is asked again by itself"),
    errors.Conflict: Outcome(22, _WAIT),
    errors.Busy: Outcome(23, ""),
    cvmfs.CvmfsError: Outcome(30, ""),
    cvmfs.FormatError: Outcome(31, _TAMPERED),
    cvmfs.VerificationError: Outcome(32, _TAMPERED),
    cvmfs.HashMismatch: Outcome(33, _TAMPERED),
    cvmfs.SignatureInvalid: Outcome(34, "is this the repository's public key? otherwise do not trust the source"),
    cvmfs.WhitelistExpired: Outcome(35, "stratum 0 must sign the whitelist anew: is its worker running?"),
    cvmfs.CertificateNotListed: Outcome(36, _TAMPERED),
    cvmfs.WrongRepository: Outcome(37, "check the repository's name and its URL"),
    cvmfs.TooLarge: Outcome(38, _TAMPERED),
    cvmfs.ManifestOutdated: Outcome(39, "a mirror or a proxy is behind; try again, or another source"),
    cvmfs.StoreError: Outcome(40, ""),
    cvmfs.ObjectMissing: Outcome(41, "check the repository's name and its URL"),
    cvmfs.StoreUnavailable: Outcome(42, "does the web server run? is the URL right?"),
    cvmfs.PathError: Outcome(43, "softman ls shows what there is"),
    cvmfs.RepositoryExists: Outcome(44, "keep it, or choose another name"),
    cvmfs.RevisionConflict: Outcome(45, _WAIT),
    cvmfs.PathConflict: Outcome(51, "look at what the other one published, then publish again"),
    cvmfs.CandidateRejected: Outcome(46, "nothing was published; correct what the message names"),
    cvmfs.CandidateIncomplete: Outcome(50, _WAIT),
    cvmfs.TagError: Outcome(47, "softman repo tag shows what there is"),
    cvmfs.RevisionMissing: Outcome(48, "softman log, or softman repo log, shows what there is"),
    cvmfs.SourceError: Outcome(49, "nothing was published"),
    cvmfs.GatewayError: Outcome(60, "the log of the gateway says more"),
    cvmfs.GatewayRefused: Outcome(61, "check the gateway key, and the paths that it is for"),
    cvmfs.LeaseBusy: Outcome(62, _WAIT),
    cvmfs.LeaseLost: Outcome(63, "publish again, with a new lease"),
    cvmfs.GatewayUnavailable: Outcome(64, "does the gateway run? is its URL right?"),
}


def outcome(error: Exception) -> Outcome:
    """What ``error`` means: the entry of its class, or of the nearest class above it that has one."""
    for kind in type(error).__mro__:
        if kind in OUTCOMES:
            return OUTCOMES[kind]
    return Outcome(BUG, "this is a fault in softman: run it again with --debug and report what it prints")
