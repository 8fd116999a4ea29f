"""Names and owners of repositories, checked where they are made. All frozen.

Rules for names are decision 15 of the design: users and groups share one name space, nothing is normalised silently.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from softman.errors import InvalidInput

MIN_LABEL = 3
MAX_REPOSITORY_NAME = 60
"""Characters of a repository name, the limit of the CVMFS server tools."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_SUBJECT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._@:|-]{0,127}")
_SURROGATE = re.compile("[\ud800-\udfff]")
RESERVED_SUBJECTS = frozenset({"groups", "softman"})


class Kind(StrEnum):
    """Whose repository it is."""

    PERSONAL = "personal"
    GROUP = "group"


def is_text(text: str) -> bool:
    """Whether ``text`` can be written as UTF-8: JSON can say lone surrogates, which are no characters."""
    return not _SURROGATE.search(text)


def check_domain(domain: str) -> str:
    """Return ``domain`` when it is a DNS name of lower-case labels.

    Raises:
        InvalidInput: it is not, or it leaves no room for a repository label.
    """
    if not _DOMAIN.fullmatch(domain) or len(domain) > MAX_REPOSITORY_NAME - 1 - MIN_LABEL:
        msg = f"{domain!r} is no DNS domain of at most {MAX_REPOSITORY_NAME - 1 - MIN_LABEL} characters"
        raise InvalidInput(msg)
    return domain


def check_label(label: str, domain: str) -> str:
    """Return ``label`` when a repository, a bucket and a DNS name can be called so.

    Raises:
        InvalidInput: the message says which rule is broken.
    """
    longest = MAX_REPOSITORY_NAME - 1 - len(domain)
    if not MIN_LABEL <= len(label) <= longest:
        msg = (
            f"the name {label[:80]!r} has {len(label)} characters; "
            f"{MIN_LABEL} to {longest} are possible with domain {domain}"
        )
        raise InvalidInput(msg)
    if not _LABEL.fullmatch(label):
        msg = (
            f"the name {label!r} cannot be a repository: only lower-case letters, digits and inner hyphens "
            "are possible; ask an administrator for an alias"
        )
        raise InvalidInput(msg)
    return label


def check_subject(subject: str) -> str:
    """Return ``subject`` (the ``sub`` claim of the user) when it can be one segment of a Vault path.

    Raises:
        InvalidInput: it is empty, reserved, over 128 characters, or has characters that a path segment cannot have.
    """
    if subject in RESERVED_SUBJECTS:
        msg = f"the subject {subject!r} is reserved"
        raise InvalidInput(msg)
    if "/" in subject:
        msg = (
            f"the subject {subject[:140]!r} has a slash, so it would name a folder of somebody else in the vault: "
            "such an account can have no repository; ask the identity provider for subjects without"
        )
        raise InvalidInput(msg)
    if not _SUBJECT.fullmatch(subject):
        msg = f"the subject {subject[:140]!r} cannot name a Vault path: letters, digits and . _ @ : | - are possible"
        raise InvalidInput(msg)
    return subject


@dataclass(frozen=True, slots=True, order=True)
class RepositoryName:
    """A checked repository name, ``<label>.<domain>``; ``str()`` gives it whole."""

    label: str
    domain: str

    def __post_init__(self) -> None:
        check_domain(self.domain)
        check_label(self.label, self.domain)

    def __str__(self) -> str:
        return f"{self.label}.{self.domain}"

    @property
    def bucket(self) -> str:
        """The bucket whose ``cvmfs/`` area the repository shows; also the uid of its owner in RGW."""
        return self.label

    @classmethod
    def parse(cls, text: str) -> "RepositoryName":
        """Read ``<label>.<domain>``.

        Raises:
            InvalidInput: a rule for labels or domains is broken.
        """
        label, dot, domain = text.partition(".")
        if not dot:
            msg = f"{text[:80]!r} is no repository name: it has no domain"
            raise InvalidInput(msg)
        return cls(label, domain)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who a repository belongs to.

    ``user`` is the requesting user's name, ``subject`` their ``sub`` claim, ``group`` the group of a group repository.
    """

    user: str
    subject: str
    kind: Kind = Kind.PERSONAL
    group: str | None = None

    def __post_init__(self) -> None:
        check_subject(self.subject)
        if (self.kind is Kind.GROUP) != (self.group is not None):
            msg = "a group repository needs a group, a personal one has none"
            raise InvalidInput(msg)

    @property
    def label(self) -> str:
        """The label of the owner's repository: the group's name or the user's."""
        return self.group if self.group is not None else self.user

    @property
    def vault_prefix(self) -> str:
        """Where the owner's keys lie in the mount ``secrets``, without the repository."""
        return f"groups/{self.group}/cvmfs_keys" if self.group is not None else f"{self.subject}/cvmfs_keys"
