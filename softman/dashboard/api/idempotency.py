"""``Idempotency-Key``: a request that is sent twice is carried out once, and answered twice with the same.

Draft "The Idempotency-Key HTTP Header Field" of the IETF: the same key with the same request gives the same answer,
with another request 422, and 409 while the first is at work. Keys are each person's own and remembered for a day.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from softman.dashboard.api.answers import json_answer
from softman.dashboard.depends import Who, store
from softman.dashboard.problems import Problem
from softman.dashboard.store import DashboardStore

KEPT: Final = 24 * 3600.0
"""Seconds that an answer is remembered."""
STUCK: Final = 120.0
"""Seconds after which a request that is still at work is believed to be lost."""


@dataclass(frozen=True)
class Once:
    """One request that may be a repetition.

    Attributes:
        store: where answers are remembered.
        principal: whose key it is.
        key: empty when the request has none: then it is carried out.
        fingerprint: of the request.
    """

    store: DashboardStore
    principal: str
    key: str
    fingerprint: str

    def answer(self, do: Callable[[], BaseModel], status: int, headers: dict[str, str]) -> Response:
        """Carry the request out, unless that was done: then give the same answer again.

        Args:
            do: carries it out; what it raises is not remembered.
            status: of the answer.
            headers: of the answer.

        Raises:
            Problem: the key belongs to another request, or the same one is at work.
        """
        if not self.key:
            return json_answer(do(), status, headers)
        known = self._begin()
        if known is not None:
            return Response(known, status, {**headers, "Idempotency-Replayed": "true"}, media_type="application/json")
        try:
            text = do().model_dump_json()
        except BaseException:
            self._forget()
            raise
        with self.store.transaction() as connection:
            connection.execute(
                "UPDATE answers SET answer = ? WHERE principal = ? AND key = ?", (text, self.principal, self.key)
            )
        return Response(text, status, headers, media_type="application/json")

    def _begin(self) -> str | None:
        """Note that the request is at work, and return None; or the answer that it had before."""
        now = time.time()
        with self.store.transaction() as connection:
            connection.execute("DELETE FROM answers WHERE begun < ?", (now - KEPT,))
            connection.execute(
                "DELETE FROM answers WHERE principal = ? AND key = ? AND answer IS NULL AND begun < ?",
                (self.principal, self.key, now - STUCK),
            )
            row = connection.execute(
                "SELECT fingerprint, answer FROM answers WHERE principal = ? AND key = ?", (self.principal, self.key)
            ).fetchone()
            if row is None:
                connection.execute(
                    "INSERT INTO answers (principal, key, fingerprint, begun) VALUES (?, ?, ?, ?)",
                    (self.principal, self.key, self.fingerprint, now),
                )
                return None
        if row["fingerprint"] != self.fingerprint:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key", "this Idempotency-Key belongs to another request"
            )
        if row["answer"] is None:
            raise Problem(HTTPStatus.CONFLICT, "at-work", "the same request is at work", headers={"Retry-After": "1"})
        return str(row["answer"])

    def _forget(self) -> None:
        with self.store.transaction() as connection:
            connection.execute("DELETE FROM answers WHERE principal = ? AND key = ?", (self.principal, self.key))


async def once(
    request: Request,
    who: Who,
    kept: Annotated[DashboardStore, Depends(store)],
    key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            max_length=128,
            pattern="^[!-~]*$",
            description="Names this request: sent again with the same key, it is carried out once. A UUID will do.",
        ),
    ] = "",
) -> Once:
    """The request that an endpoint is called for, as one that may be a repetition."""
    told = json.dumps([request.method, request.url.path, (await request.body()).hex()])
    return Once(kept, who.subject, key, hashlib.sha256(told.encode()).hexdigest())


IsOnce = Annotated[Once, Depends(once)]
