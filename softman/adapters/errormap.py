"""Vendor exceptions become ours at one place: a table per vendor library, and one context manager that reads it.

An adapter writes its table once and wraps every call::

    TABLE: Table = {
        RequestsTimeout: Meaning(ServiceUnavailable, "Vault did not answer in time"),
        ClientError: _by_code,              # a function when the class alone does not say what happened
    }

    with translated(TABLE, f"read the keys of {repository}"):
        ...

The vendor's own text is not copied into our message, since it may hold request bodies; it stays reachable as
``__cause__``. ``unmapped`` is what the completeness test of each table asserts to be empty: a new version of the
library that brings a new class fails a test instead of surprising a worker.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from softman.errors import SoftmanError


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a vendor exception means to us.

    ``error`` is the class to raise, ``text`` the reason in words that a user or an administrator can act on.
    """

    error: type[SoftmanError]
    text: str


Rule = Meaning | Callable[[Any], Meaning]
"""A fixed meaning, or a function of the exception for classes such as botocore's ``ClientError``."""

Table = Mapping[type[Exception], Rule]
"""The rules of one vendor library. The most specific class of an exception wins, whatever the order of the table."""


def meaning_of(table: Table, exc: BaseException) -> Meaning | None:
    """What ``exc`` means by ``table``; None when neither its class nor a base class is listed."""
    for cls in type(exc).__mro__:
        rule = table.get(cls)
        if rule is not None:
            return rule if isinstance(rule, Meaning) else rule(exc)
    return None


@contextmanager
def translated(table: Table, what: str) -> Iterator[None]:
    """Raise our error in place of a vendor's inside the block; everything else passes unchanged.

    Args:
        table: the vendor's exceptions and what they mean.
        what: what is being attempted, the start of the message: ``cannot <what>: <reason>``. No secrets.

    Raises:
        SoftmanError: the class that the table names, with the vendor's exception as its cause.
    """
    try:
        yield
    except tuple(table) as exc:
        meaning = meaning_of(table, exc)
        if meaning is None:  # cannot be: the except clause matched a class of the table
            raise
        msg = f"cannot {what}: {meaning.text}"
        raise meaning.error(msg) from exc


def unmapped(table: Table, module: ModuleType, *, base: type[Exception] = Exception) -> frozenset[str]:
    """Names of the exception classes defined in ``module`` that ``table`` does not list themselves.

    Args:
        table: the rules to check.
        module: the vendor's module of exceptions; what it merely imports from elsewhere is not looked at.
        base: only classes below this one count, so that warnings and unrelated helpers can be left out.
    """
    found = {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
    }
    return frozenset(cls.__name__ for cls in found - set(table))
