"""Who may do what at Redis: its users, one for each role, with the keys and commands of each.

Redis 7 checks both, also for what a script calls. No role but ``admin`` may list keys, flush, configure, or read
what it does not work with. The file that ``acl_file`` makes is shipped as ``compose/redis/users.acl``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from softman.adapters.pending_scripts import KEY_NAMES

USER_PREFIX = "softman-"
_CONNECTING = ("auth", "hello", "ping", "select", "quit", "client|setname")
_SCRIPTS = ("evalsha", "script|load", "time")
_PIPELINES = ("multi", "exec", "discard")
_PENDING = tuple(f"~softman:{{*}}:{what}" for what in KEY_NAMES)
_LINKS = "~softman:{*}:links"
_RESULTS = "celery-task-meta-*"
_READING_RESULTS = ("get", "mget", "subscribe", "unsubscribe")
_WRITING_RESULTS = (*_READING_RESULTS, *_PIPELINES, "set", "setex", "publish")


@dataclass(frozen=True, slots=True)
class CacheRights:
    """The rights of one user.

    Attributes:
        keys: patterns, ``~`` for reading and writing, ``%R~`` for reading.
        commands: in Redis' words, beside those of every connection.
        results: whether it may use the channels on which results are told.
    """

    keys: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    results: bool = False


_READER = CacheRights((f"%R~{_RESULTS}",), _READING_RESULTS, results=True)
_LINK_KEEPER = CacheRights(
    (_LINKS, f"~{_RESULTS}"), (*_WRITING_RESULTS, "hset", "hgetall", "expire"), results=True
)  # links of the provisioning chain
CACHE_RIGHTS: Mapping[str, CacheRights] = {
    "client": _READER,
    "flower": _READER,
    # Scripts count as writing, so their keys are open; what would change something is not among the commands.
    "dashboard": CacheRights(
        ("~softman:*", f"%R~{_RESULTS}"),
        (
            *_READING_RESULTS, *_SCRIPTS, "exists", "hgetall", "hlen", "lindex", "lrange", "scard", "srandmember",
            "zrange",
        ),
        results=True,
    ),
    "events": CacheRights(
        (*_PENDING, "~softman:strangers", "%R~softman:beats"),
        (*_SCRIPTS, "exists", "sadd", "set", "get", "hlen", "hexists", "hset", "expire", "zrange"),
    ),
    "publisher": CacheRights(
        ("~softman:{*}:*", "~softman:owner:*:turns", "~softman:strangers", f"~{_RESULTS}"),
        (
            *_WRITING_RESULTS, *_SCRIPTS, "del", "exists", "expire", "hdel", "hexists", "hgetall", "hlen", "hset",
            "lindex", "lpush", "lrange", "ltrim", "pexpire", "pttl", "sadd", "scard", "spop", "srandmember", "srem",
            "sunionstore", "zadd", "zcard", "zrem", "zremrangebyscore", "zscore",
        ),
        results=True,
    ),
    "connector": _LINK_KEEPER,
    "stratum0": CacheRights(("~softman:{*}:faults", *_LINK_KEEPER.keys), _LINK_KEEPER.commands, results=True),
    "commit": CacheRights((f"~{_RESULTS}",), _WRITING_RESULTS, results=True),
    "beat": CacheRights(
        ("~softman:beat:turn:*", "~softman:beats"),
        (*_SCRIPTS, "set", "pttl", "del", "zadd", "zremrangebyscore", "expire"),
    ),
}  # fmt: skip
"""The rights of every role but ``admin``, who has all."""
CACHE_ROLES = ("admin", *CACHE_RIGHTS)


def acl_file(passwords: Mapping[str, str]) -> str:
    """The text of Redis' ACL file (setting ``aclfile``).

    Args:
        passwords: by role; only their SHA-256 is written, so they must be random and long. A user without one cannot
            log in until an administrator gives one (``ACL SETUSER softman-publisher >...``, ``ACL SAVE``).
    """
    lines = ["user default off"]
    for role in CACHE_ROLES:
        secret = f"#{sha256(passwords[role].encode()).hexdigest()}" if role in passwords else "resetpass"
        lines.append(f"user {USER_PREFIX}{role} on {secret} {' '.join(_rules(role))}")
    return "\n".join(lines) + "\n"


def _rules(role: str) -> Iterable[str]:
    if role == "admin":
        return ("~*", "&*", "+@all")
    rights = CACHE_RIGHTS[role]
    channels = (f"&{_RESULTS}",) if rights.results else ()
    commands = sorted({*_CONNECTING, *rights.commands})
    return ("resetchannels", *rights.keys, *channels, "-@all", *(f"+{command}" for command in commands))
