"""What only the command line can run into; below our error root, so that it ends like any other error."""

from softman.errors import PermanentError, TransientError


class WaitedTooLong(TransientError):
    """What was waited for did not happen in time; it may still happen."""

    code = "waited-too-long"


class Mismatch(PermanentError):
    """The demo compared two things and they differ, or something did not become visible in time."""

    code = "mismatch"
