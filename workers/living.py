"""A worker gives a sign of life whenever it tells the broker that it lives: see ``softman alive``."""

import time
from typing import Any

from celery import signals

from softman.adapters.signs import give_sign
from workers.base import settings

EVERY = 5.0
"""Seconds between two signs; Celery's heart beats every two."""
_name = [""]
_next = [0.0]


@signals.celeryd_init.connect(dispatch_uid="softman.living")
def _remember(sender: Any = None, **_: Any) -> None:
    """The worker's own name: what stands before the host in its node name."""
    _name[0] = str(sender or "").partition("@")[0]


@signals.heartbeat_sent.connect(dispatch_uid="softman.living")
def _give_sign(**_: Any) -> None:
    """It reached the broker."""
    now = time.monotonic()
    if _name[0] and now >= _next[0]:
        _next[0] = now + EVERY
        give_sign(settings().state_dir, _name[0])
