"""What can be wrong with a repository, as values with advice."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ProblemKind(StrEnum):
    """What a problem is about."""

    SIGNATURE = "signature"
    WHITELIST = "whitelist"
    METAINFO = "metainfo"
    REFLOG = "reflog"
    STALE = "stale-reflog"
    """The reflog is complete, but not yet the one that the manifest names: a change was interrupted."""
    HISTORY = "history"
    CATALOG = "catalog"
    MISSING = "missing"
    """An object that is referred to is not in the store, or not in full."""
    DAMAGED = "damaged"
    """An object is not what its name says, or not what its catalog says."""
    UNREFERENCED = "unreferenced"
    """An object that nothing refers to: it only takes space."""


_ADVICE: Final = {
    ProblemKind.SIGNATURE: "trust nothing in it; compare keys and name, or publish again from stratum 0",
    ProblemKind.WHITELIST: "sign the whitelist again",
    ProblemKind.METAINFO: "bring the object back from a replica or a backup",
    ProblemKind.REFLOG: "the next change of the repository writes it anew; add or remove a tag to have it now",
    ProblemKind.STALE: "nothing is lost, and the next change of the repository puts it right",
    ProblemKind.HISTORY: "remove or move the tag; bring a lost tag database back from a replica, or forget its tags",
    ProblemKind.CATALOG: "publish a change below this path, or roll back to a revision that passes",
    ProblemKind.MISSING: "bring the object back from a replica or a backup, or publish the content again",
    ProblemKind.DAMAGED: "remove the object, then bring it back from a replica, or publish the content again",
    ProblemKind.UNREFERENCED: "garbage collection with 'unreferenced' removes it",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (a file, a path, an object), what, and what can be done."""

    kind: ProblemKind
    where: str
    message: str

    @property
    def advice(self) -> str:
        """What an administrator can do."""
        return _ADVICE[self.kind]

    @property
    def is_harmless(self) -> bool:
        """Whether no client will ever notice."""
        return self.kind in {ProblemKind.UNREFERENCED, ProblemKind.STALE}

    def __str__(self) -> str:
        return f"{self.where}: {self.message} ({self.kind}; {self.advice})"
