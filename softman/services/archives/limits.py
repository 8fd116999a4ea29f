"""What an archive may hold, and the error that says that one holds something else."""

from dataclasses import dataclass

from softman.errors import PermanentError


class ArchiveRefused(PermanentError):
    """An archive is left out as a whole: it is damaged, breaks a limit, or has a member that cannot be published.

    The message is for its owner; it names the member.
    """


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Limits for one archive. What goes beyond any of them is refused as a whole.

    Attributes:
        members: how many files, directories and links.
        size: bytes that it may inflate to, padding and headers included.
        ratio: how many times larger than its compressed form it may become; asked beyond the first 64 MiB only.
        catalogs: how many directories in it may have a ``.cvmfscatalog``.
    """

    members: int = 1_000_000
    size: int = 64 * 1024**3
    ratio: int = 200
    catalogs: int = 1000
