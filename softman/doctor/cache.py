"""Redis: login, version, what it does when its memory is full, and its clock."""

from collections.abc import Iterator
from typing import Any

import redis

from softman.adapters.errormap import translated
from softman.adapters.redis_client import REDIS_TABLE, redis_client
from softman.doctor.clocks import compared
from softman.doctor.finding import Finding, broken, fine, unknown, warning
from softman.errors import Forbidden, InvalidInput, ServiceUnavailable
from softman.settings import Settings

AREA = "cache"
OLDEST = (6, 2)
"""The first Redis with ACLs for scripts and channels as ours need them."""


def check_cache(settings: Settings) -> Iterator[Finding]:
    """Look at Redis with this process's user."""
    client = redis_client(settings.redis_url.get_secret_value(), settings.tls.ca_file)
    try:
        with translated(REDIS_TABLE, "look at Redis"):
            yield _version(client)
            yield from _memory(client)
            yield from _clock(client)
    except Forbidden as exc:
        yield broken(AREA, str(exc), "correct user and password in SOFTMAN_REDIS_URL; softman cache users")
    except (ServiceUnavailable, InvalidInput) as exc:
        yield broken(AREA, str(exc), "is Redis running, and is SOFTMAN_REDIS_URL right? redis-cli ping")
    finally:
        client.close()


def _version(client: redis.Redis) -> Finding:
    answer: Any = client.execute_command("HELLO")  # type: ignore[no-untyped-call]
    pairs = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
    text = pairs[b"version"].decode()
    if tuple(map(int, text.split(".")[:2])) < OLDEST:
        return broken(AREA, f"Redis {text} is too old", f"install {'.'.join(map(str, OLDEST))} or newer")
    return fine(AREA, f"Redis {text} takes our login")


def _memory(client: redis.Redis) -> Iterator[Finding]:
    try:
        found: Any = client.config_get("maxmemory*")
    except redis.exceptions.ResponseError:  # the users of roles may not ask
        yield unknown(AREA, "what Redis does when its memory is full can only be seen with an administrator's user")
        return
    policy = found.get("maxmemory-policy", found.get(b"maxmemory-policy", "noeviction"))
    policy = policy.decode() if isinstance(policy, bytes) else policy
    if policy == "noeviction" or policy.startswith("volatile"):
        yield fine(AREA, f"Redis keeps what it is given ({policy})")
        return
    text = f"Redis drops any key when its memory is full ({policy}): pending keys would wait for reconciliation"
    yield warning(AREA, text, "redis-cli config set maxmemory-policy noeviction, and the same in redis.conf")


def _clock(client: redis.Redis) -> Iterator[Finding]:
    try:
        seconds, microseconds = client.time()
    except redis.exceptions.NoPermissionError:
        return
    yield compared(AREA, "Redis", seconds + microseconds / 1e6)
