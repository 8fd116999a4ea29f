"""A process that is killed between any two of its writes, as a test of services sees it."""

from collections.abc import Callable

import pytest

from softman.adapters.memory_vault import MemoryVault
from softman.cvmfs.store.local import LocalStore


class Killed(BaseException):
    """The process was killed; no handler of errors sees it."""


class Death:
    """Comes after so many more writes, to the vault, to a repository, or by another method; 0 is never.

    Args:
        monkeypatch: takes it back.
        writes: further methods that write, with their class.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *writes: tuple[type, str]) -> None:
        self.after = 0
        for owner, name in ((MemoryVault, "write"), (LocalStore, "put"), *writes):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, write: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            result = write(*arguments, **options)
            self.after -= 1
            if self.after == 0:
                raise Killed
            return result

        return call
