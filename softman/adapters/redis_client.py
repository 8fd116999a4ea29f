"""What the Redis adapters share: the client, the names of keys, and what the errors of redis-py mean.

Redis is a cache (architecture, decision 3 of the first list): whatever is in it may vanish at any moment. Every key is
named ``softman:{<repository>}:<what>``. The braces are a hash tag: all keys of a repository live on one node of a Redis
cluster, so that scripts may use several of them.
"""

import ssl
from pathlib import Path
from typing import Any

import redis
from redis import exceptions as vendor
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from softman.adapters.errormap import Meaning, Table
from softman.errors import Forbidden, InvalidInput, ServiceUnavailable
from softman.names import RepositoryName
from softman.transport import certificate_problem

TIMEOUT_SECONDS = 5.0
RETRIES = 3
HEALTH_SECONDS = 30

_NO_ANSWER = Meaning(ServiceUnavailable, "Redis does not answer")
_NOT_NOW = Meaning(ServiceUnavailable, "Redis cannot serve now")
_REFUSED = Meaning(Forbidden, "Redis refuses the credential")
_PASSING = ("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN")
_REFUSING = ("NOAUTH", "NOPERM", "WRONGPASS")
_SCRIPT_REFUSED = "user executing the script"


def _no_answer(exc: vendor.ConnectionError) -> Meaning:
    problem = certificate_problem(exc)
    return Meaning(ServiceUnavailable, problem) if problem else _NO_ANSWER


def _response_error(exc: vendor.ResponseError) -> Meaning:
    word = str(exc).partition(" ")[0]
    if word in _PASSING:
        return _NOT_NOW
    if word in _REFUSING or _SCRIPT_REFUSED in str(exc):
        return _REFUSED
    return Meaning(InvalidInput, "Redis does not understand the request; it must be Redis 6.2 or newer")


REDIS_TABLE: Table = {
    vendor.AuthenticationError: _REFUSED,
    vendor.AuthenticationWrongNumberOfArgsError: _REFUSED,
    vendor.AuthorizationError: _REFUSED,
    vendor.ExternalAuthProviderError: _REFUSED,
    vendor.NoPermissionError: _REFUSED,
    vendor.BusyLoadingError: _NOT_NOW,
    vendor.ClusterError: _NOT_NOW,
    vendor.ClusterDownError: _NOT_NOW,
    vendor.OutOfMemoryError: _NOT_NOW,
    vendor.ReadOnlyError: _NOT_NOW,
    vendor.TryAgainError: _NOT_NOW,
    vendor.ConnectionError: _no_answer,
    vendor.TimeoutError: _NO_ANSWER,
    vendor.InvalidResponse: _NO_ANSWER,
    vendor.ResponseError: _response_error,
    vendor.RedisError: Meaning(InvalidInput, "the Redis client refuses the request; look at redis_url"),
}
"""Errors of redis-py, and of the server by the first word of its answer."""


def redis_client(
    url: str, ca_file: Path | None = None, *, timeout: float = TIMEOUT_SECONDS, retries: int = RETRIES
) -> redis.Redis:
    """A client that threads may share; it answers in bytes, and gives up after some 20 s at most.

    Args:
        url: ``redis://`` or, with TLS, ``rediss://``.
        ca_file: the authorities for TLS; None for those of the system.
        timeout: seconds to connect, and to wait for an answer.
        retries: how often a request is sent again.

    What is sent again after a broken connection may have been carried out already: callers see to it that this is
    harmless.

    Raises:
        InvalidInput: the URL is none of Redis.
    """
    try:
        return redis.Redis.from_url(
            url,
            **tls_options(url, ca_file),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            health_check_interval=HEALTH_SECONDS,
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), retries),
        )
    except ValueError as exc:
        msg = "redis_url is no URL of a Redis server"
        raise InvalidInput(msg) from exc


def tls_options(url: str, ca_file: Path | None) -> dict[str, Any]:
    """Arguments of redis-py's connections for a URL: with TLS, certificate and name are verified."""
    if not url.startswith("rediss:"):
        return {}
    authorities = {} if ca_file is None else {"ssl_ca_certs": str(ca_file)}
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True, **authorities}


def key_name(repository: RepositoryName, what: str) -> str:
    """The name of a Redis key of one repository."""
    return f"softman:{{{repository}}}:{what}"


def to_bytes(key: str) -> bytes:
    """An object key as Redis stores it; any string survives the way there and back, lone surrogates included."""
    return key.encode("utf-8", "surrogatepass")


def to_text(data: bytes) -> str:
    """The reverse of ``to_bytes``."""
    return data.decode("utf-8", "surrogatepass")
