"""Whose an entry of a repository is: the bucket's, or that of a publisher who writes through the gateway."""

from typing import Final

from softman.cvmfs.gateway.merger import Ownership
from softman.services.mapping import PUBLISHER_XATTR, SOURCE_XATTR

OWNERSHIP: Final = Ownership(SOURCE_XATTR, rb"\S+ \S+ \S+ \..*", PUBLISHER_XATTR)
"""Marked entries come from keys of the bucket; a form that begins with a dot is that of an archive (``Rules.mark``)."""
