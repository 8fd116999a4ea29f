"""The proof that a request comes from a holder of a gateway key: ``Authorization: <key id> <proof>``.

The proof is the base64 form of the lower-case hexadecimal digits (not of the bytes) of an HMAC-SHA1. What it is made
over depends on the request:

=============================================  ======================================
request                                        bytes
=============================================  ======================================
``POST /leases``, ``/repos/...``, ``/gc``      the body
``POST``, ``DELETE /leases/<token>``           the token
``POST /payloads``                             the first ``Message-Size`` bytes of the body
``POST /payloads/<token>``                     the token
``DELETE /leases-by-path/...``                 the path in the URL
=============================================  ======================================

Source: ``frontend/authz.go``, ``frontend/hmac.go``, ``cvmfs/swissknife_lease_curl.cc``.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.keys import GatewayKey

_MAX_HEADER = 1024
_WORDS = 2


@dataclass(frozen=True, slots=True)
class Authorization:
    """What a request says about its sender: a claim until ``proves`` was asked."""

    key_id: str
    proof: bytes = field(repr=False)
    """Hexadecimal digits, as ASCII."""

    @classmethod
    def parse(cls, header: str) -> "Authorization":
        """Read the header's value.

        Raises:
            FormatError: not a key id and base64, with one space between them.
        """
        words = header.split(" ")
        if len(header) > _MAX_HEADER or len(words) != _WORDS or not words[0]:
            raise FormatError("not an authorization: expected a key id and a proof")
        try:
            return cls(words[0], base64.b64decode(words[1], validate=True))
        except (binascii.Error, ValueError) as exc:
            raise FormatError("not an authorization: the proof is not base64") from exc

    def proves(self, key: GatewayKey, signed: bytes) -> bool:
        """Whether the sender had ``key`` when it wrote ``signed``; takes the same time whatever the answer."""
        expected = _digits(key, signed)
        return self.key_id == key.key_id and hmac.compare_digest(self.proof, expected)


def authorization(key: GatewayKey, signed: bytes) -> str:
    """The header's value for a request over ``signed``."""
    return f"{key.key_id} {base64.b64encode(_digits(key, signed)).decode()}"


def _digits(key: GatewayKey, signed: bytes) -> bytes:
    return hmac.new(key.secret.encode(), signed, hashlib.sha1).hexdigest().encode()
