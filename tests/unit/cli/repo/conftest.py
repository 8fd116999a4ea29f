"""``softman repo`` on a folder, with keys in another."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

NAME = "tools.example.org"


@dataclass(frozen=True)
class Admin:
    """What an admin types, with the options that are always the same."""

    softman: Callable[..., Any]
    root: Path

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def repository(self) -> Path:
        return self.root / "srv" / NAME

    def write(self, command: str, *arguments: object) -> Any:
        options = ("--storage", (self.root / "srv").as_uri(), "--keys", self.keys)
        return self.softman("repo", command, NAME, *map(str, arguments), *options)

    def read(self, command: str, *arguments: object) -> Any:
        options = ("--url", self.repository.as_uri(), "--public-key", self.keys / f"{NAME}.pub")
        return self.softman("repo", command, NAME, *map(str, arguments), *options)


@pytest.fixture
def admin(softman: Callable[..., Any], tmp_path: Path) -> Admin:
    return Admin(softman, tmp_path)


@pytest.fixture
def made(admin: Admin) -> Admin:
    """With an empty repository."""
    assert admin.write("create").code == 0
    return admin
