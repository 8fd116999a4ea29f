"""The publisher's proof that it may write: an HMAC over the commit request, keyed with the repository's gateway key.

The proof binds repository, transaction, base and new root. A replay is void because the base has moved on (decision 5).
"""

import hashlib
import hmac
import json
from dataclasses import replace

from softman.cvmfs.format.keys import GatewayKey
from softman.errors import Forbidden
from softman.model import CommitRequest


def _signed_text(request: CommitRequest) -> bytes:
    fields: list[object] = [
        "softman commit 1",
        request.repository,
        request.transaction,
        request.base.revision,
        request.base.root_hash,
        request.new_root_hash,
        request.key_id,
    ]
    if request.configuration is not None:
        fields.append(hashlib.sha256(request.configuration.encode()).hexdigest())
    if request.path:
        fields.append(f"path {request.path}")
    if request.repairs:
        fields.append({"repairs": request.repairs})
    if request.tag or request.tag_description:
        fields.append({"tag": [request.tag, request.tag_description]})
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":")).encode()


def _signature(request: CommitRequest, key: GatewayKey) -> str:
    return hmac.new(key.secret.encode(), _signed_text(request), hashlib.sha256).hexdigest()


def signed(request: CommitRequest, key: GatewayKey) -> CommitRequest:
    """The request with the key's id and signature filled in."""
    named = replace(request, key_id=key.key_id)
    return replace(named, signature=_signature(named, key))


def check_signature(request: CommitRequest, key: GatewayKey) -> None:
    """Make sure that ``request`` was signed with ``key``.

    Raises:
        Forbidden: the key id or the signature is another one.
    """
    same_id = hmac.compare_digest(request.key_id.encode(), key.key_id.encode())
    if not same_id or not hmac.compare_digest(request.signature.encode(), _signature(request, key).encode()):
        msg = f"the commit for {request.repository} is not signed with its current gateway key"
        raise Forbidden(msg)
