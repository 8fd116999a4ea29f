"""Addresses of services: which are spoken to in plain text, and why a certificate was refused. Pure.

Plain text stays on this host unless a setting says otherwise (``tls.allow_plaintext``). Certificates are always
verified, the name in them too; there is no switch for that, not in a URL either.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, urlsplit

_PLAIN = frozenset({"http", "amqp", "pyamqp", "redis"})
_REFUSED = re.compile(r"certificate verify failed(?:: (.+?))?(?: \(_ssl|['\"]\)|$)|(hostname '[^']+' doesn't match .+)")
_HOST = re.compile(r"host='([^']+)'|connecting to ([^\s]+?)\.?(?:\s|$)|for (https://[^/\s]+)")


def addresses(url: str) -> Iterator[SplitResult]:
    """The addresses of a setting; Celery takes several brokers with semicolons between them."""
    return (urlsplit(part) for part in url.split(";") if part)


def plain_text_host(url: str) -> str:
    """The first host beyond this one that ``url`` reaches in plain text; empty when there is none."""
    for parts in addresses(url):
        host = parts.hostname or ""
        if parts.scheme in _PLAIN and host and not is_loopback(host):
            return host
    return ""


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this host, whatever the network."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def weakens_tls(url: str) -> bool:
    """Whether the query of ``url`` has options of TLS, such as ``ssl_cert_reqs=none``."""
    return any(name.lower().startswith("ssl") for parts in addresses(url) for name, _ in parse_qsl(parts.query))


def certificate_problem(exc: BaseException) -> str:
    """Why the certificate of a server was refused, with the server's name as far as ``exc`` tells; else empty."""
    text = str(exc)
    found = _REFUSED.search(text)
    if found is None:
        return ""
    host = _HOST.search(text)
    name = next(filter(None, host.groups()), "") if host else ""
    cause = next(filter(None, found.groups()), "it cannot be verified")
    return f"the certificate of {name or 'the server'} is refused: {cause}"
