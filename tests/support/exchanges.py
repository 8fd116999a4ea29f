"""Recorded conversations of stock publishers with the official gateway (``tests/data/gateway``)."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from softman.cvmfs.format.keys import GatewayKey

FOLDER = Path(__file__).parents[1] / "data" / "gateway"
REPOSITORY = "gwfix.example.org"
_TOKEN_IN_PATH = 5


@dataclass(frozen=True)
class Exchange:
    """One request, and what the official gateway answered."""

    scenario: str
    number: int
    client: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    over: str | None
    matches: bool
    status: int | None
    answer: str

    def __str__(self) -> str:
        return f"{self.scenario}-{self.number:02}"

    @property
    def json(self) -> dict[str, Any]:
        """The answer's fields."""
        fields: dict[str, Any] = json.loads(self.answer)
        return fields

    @property
    def token(self) -> str:
        """The last part of a path such as ``/api/v1/leases/<token>``."""
        return self.path.rpartition("/")[2] if self.path.count("/") >= _TOKEN_IN_PATH - 1 else ""

    @property
    def signed(self) -> bytes:
        """What the proof is made over."""
        size = int(self.headers.get("message-size", "0"))
        return {
            "the request body": self.body,
            "the session token (last part of the path)": self.token.encode(),
            "the first Message-Size bytes of the body": self.body[:size],
            "the request path": self.path.encode(),
        }[self.over or ""]


@cache
def exchanges() -> tuple[Exchange, ...]:
    """All of them, in the order of the scenarios' names."""
    return tuple(map(_exchange, json.loads((FOLDER / "exchanges.json").read_text())))


def of(scenario: str) -> list[Exchange]:
    """Those of one scenario, in the order in which they were."""
    found = [each for each in exchanges() if each.scenario == scenario]
    assert found
    return found


def keys() -> dict[str, GatewayKey]:
    """The gateway keys, by id."""
    found = [GatewayKey.parse(path.read_text()) for path in (FOLDER / "keys").glob("*.gw")]
    return {key.key_id: key for key in found}


def _exchange(item: dict[str, Any]) -> Exchange:
    body = (FOLDER / "bodies" / item["body_file"]).read_bytes() if "body_file" in item else item["body"].encode()
    over, matches = item.get("hmac", (None, False))
    return Exchange(
        item["scenario"],
        item["exchange"],
        item["client"],
        item["method"],
        item["path"],
        item["headers"],
        body,
        over,
        bool(matches),
        item["status"],
        item["answer"] or "",
    )
