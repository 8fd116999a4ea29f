"""Who asks: the person behind a session of the dashboard or a token of its API. Frozen values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """A person, as their identity provider describes them.

    Attributes:
        subject: the ``sub`` claim; never changes.
        user: the label of their personal repository and bucket: the user name, or the alias that an admin gave.
        groups: the groups that they are a member of and that can have a repository.
        managed: those of them that they manage.
        admin: whether they administrate softman.
        name: what to call them; for display only.
        via: ``session`` or ``token``.
    """

    subject: str
    user: str
    groups: frozenset[str] = frozenset()
    managed: frozenset[str] = frozenset()
    admin: bool = False
    name: str = ""
    via: str = "session"
