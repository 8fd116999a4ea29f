"""From the errors of ``softman.cvmfs`` to softman's own (decision 23): the one place that knows both trees."""

from collections.abc import Iterator
from contextlib import contextmanager

from softman.adapters.circuit import StoreOutage
from softman.cvmfs import errors as cvmfs
from softman.errors import (
    Busy,
    CandidateRefused,
    Conflict,
    Corrupt,
    Forbidden,
    NotFound,
    Outage,
    PermanentError,
    ServiceUnavailable,
    SoftmanError,
)

TABLE: dict[type[cvmfs.CvmfsError], type[SoftmanError]] = {
    cvmfs.CvmfsError: PermanentError,
    cvmfs.FormatError: Corrupt,
    cvmfs.VerificationError: Corrupt,
    cvmfs.StoreError: ServiceUnavailable,
    cvmfs.StoreUnavailable: ServiceUnavailable,
    StoreOutage: Outage,
    cvmfs.ObjectMissing: NotFound,
    cvmfs.PathError: NotFound,
    cvmfs.RevisionConflict: Conflict,
    cvmfs.CandidateRejected: CandidateRefused,
    cvmfs.CandidateIncomplete: Conflict,
    cvmfs.GatewayRefused: Forbidden,
    cvmfs.LeaseBusy: Busy,
    cvmfs.LeaseLost: Conflict,
    cvmfs.GatewayUnavailable: ServiceUnavailable,
}
"""The most specific class wins."""


@contextmanager
def cvmfs_errors(what: str) -> Iterator[None]:
    """Translate errors of the library while doing ``what``, which the message begins with.

    Raises:
        SoftmanError: of the class that ``TABLE`` gives.
    """
    try:
        yield
    except cvmfs.CvmfsError as exc:
        ours = next(TABLE[cls] for cls in type(exc).__mro__ if cls in TABLE)
        msg = f"{what}: {exc}"
        raise ours(msg) from exc
