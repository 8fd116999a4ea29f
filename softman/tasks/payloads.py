"""Commit requests and answers as JSON, with a version. Pure.

A request carries ``"schema": 1``. Unknown fields are ignored, so that a newer publisher may say more; a version that is
not known is refused, because its fields may mean something else.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from softman.errors import CandidateRefused, InvalidInput, PermanentError
from softman.model import MAX_CONFIGURATION, MAX_REPAIRS, Base, CommitAnswer, CommitRequest
from softman.names import is_text

SCHEMA = 1
MAX_TEXT = 4096
"""Characters of one text field; hashes, ids and signatures are far shorter."""
MAX_REVISION = 2**63 - 1

_T = TypeVar("_T")


def commit_request_to_json(request: CommitRequest) -> dict[str, Any]:
    """The argument of the task ``softman.commit``."""
    more: dict[str, Any] = {} if request.configuration is None else {"configuration": request.configuration}
    if request.path:
        more["path"] = request.path
    if request.repairs:
        more["repairs"] = list(request.repairs)
    if request.tag or request.tag_description:
        more |= {"tag": request.tag, "tag_description": request.tag_description}
    return {
        **more,
        "schema": SCHEMA,
        "repository": request.repository,
        "transaction": request.transaction,
        "base": {"revision": request.base.revision, "root_hash": request.base.root_hash},
        "new_root_hash": request.new_root_hash,
        "key_id": request.key_id,
        "signature": request.signature,
    }


def commit_request_from_json(payload: object) -> CommitRequest:
    """Read what ``commit_request_to_json`` wrote. The values' meaning is for stratum 0 to check.

    Raises:
        InvalidInput: the version is unknown, a field is missing, of the wrong type or too long.
    """
    fields = _mapping(payload, "commit request")
    schema = _get(fields, "schema", int)
    if schema != SCHEMA:
        msg = f"commit request of schema {schema}, known is {SCHEMA}"
        raise InvalidInput(msg)
    base = _mapping(_get(fields, "base", dict), "base")
    return CommitRequest(
        repository=_text(fields, "repository"),
        transaction=_text(fields, "transaction"),
        base=Base(revision=_revision(base), root_hash=_text(base, "root_hash")),
        new_root_hash=_text(fields, "new_root_hash"),
        key_id=_text(fields, "key_id"),
        signature=_text(fields, "signature"),
        configuration=_text(fields, "configuration", MAX_CONFIGURATION) if "configuration" in fields else None,
        path=_text(fields, "path") if "path" in fields else "",
        repairs=_paths(fields, "repairs") if "repairs" in fields else (),
        tag=_text(fields, "tag") if "tag" in fields else "",
        tag_description=_text(fields, "tag_description") if "tag_description" in fields else "",
    )


def commit_answer_to_json(answer: CommitAnswer) -> dict[str, Any]:
    """The result of the task ``softman.commit`` when stratum 0 compared the bases."""
    return {
        "committed": answer.committed,
        "revision": answer.current.revision,
        "root_hash": answer.current.root_hash,
        "reason": answer.reason,
        **({"key_replaced": True} if answer.key_replaced else {}),
    }


def refusal_to_json(error: PermanentError) -> dict[str, Any]:
    """The result of the task ``softman.commit`` when stratum 0 will not sign."""
    return {"refused": error.code, "reason": str(error)}


def commit_answer_from_json(payload: object) -> CommitAnswer:
    """Read the result of the task ``softman.commit``.

    Raises:
        CandidateRefused: it is a refusal; the message is stratum 0's.
        InvalidInput: it is neither answer nor refusal.
    """
    fields = _mapping(payload, "commit answer")
    if "refused" in fields:
        msg = f"{_text(fields, 'reason')} ({_text(fields, 'refused')})"
        raise CandidateRefused(msg)
    return CommitAnswer(
        committed=_get(fields, "committed", bool),
        current=Base(revision=_revision(fields), root_hash=_text(fields, "root_hash")),
        reason=_text(fields, "reason"),
        key_replaced=fields.get("key_replaced") is True,
    )


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        msg = f"a {what} is an object, not {type(value).__name__}"
        raise InvalidInput(msg)
    return value


def _get(fields: Mapping[str, Any], name: str, kind: type[_T]) -> _T:
    if name not in fields:
        msg = f"the field {name!r} is missing"
        raise InvalidInput(msg)
    value = fields[name]
    if type(value) is not kind:  # exact: True is no revision
        msg = f"the field {name!r} is of type {type(value).__name__}, not {kind.__name__}"
        raise InvalidInput(msg)
    return value


def _text(fields: Mapping[str, Any], name: str, longest: int = MAX_TEXT) -> str:
    value = _get(fields, name, str)
    if len(value) > longest:
        msg = f"the field {name!r} has {len(value)} characters, {longest} are possible"
        raise InvalidInput(msg)
    if not is_text(value):
        msg = f"the field {name!r} has lone surrogates, which no text has"
        raise InvalidInput(msg)
    return value


def _paths(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    paths = _get(fields, name, list)
    if len(paths) > MAX_REPAIRS or not all(map(_is_path, paths)):
        msg = f"the field {name!r} is no list of up to {MAX_REPAIRS} paths"
        raise InvalidInput(msg)
    return tuple(paths)


def _is_path(value: object) -> bool:
    """Whether it is text that stands for bytes; of any archive member, so they need not be UTF-8."""
    if type(value) is not str or len(value) > MAX_TEXT:
        return False
    try:
        value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _revision(fields: Mapping[str, Any]) -> int:
    value = _get(fields, "revision", int)
    if not 0 <= value <= MAX_REVISION:
        msg = f"{value} is no revision"
        raise InvalidInput(msg)
    return value
