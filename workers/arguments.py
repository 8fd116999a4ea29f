"""Arguments of tasks: what a message says, checked against the annotations of the task's body. Pure.

Possible annotations are ``RepositoryName`` (text in the message), ``str``, ``str | None``, ``bool``,
``int`` (not negative), ``Kind`` and ``dict[str, Any]``: enough, because arguments are names and plain values.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from softman.errors import InvalidInput
from softman.names import MAX_REPOSITORY_NAME, Kind, RepositoryName, is_text

MAX_TEXT = 1024
"""Characters of one text argument."""

Converter = Callable[[str, Any], Any]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        msg = f"the argument {name!r} is text, not {type(value).__name__}"
        raise InvalidInput(msg)
    if len(value) > MAX_TEXT:
        msg = f"the argument {name!r} has {len(value)} characters, {MAX_TEXT} are possible"
        raise InvalidInput(msg)
    if not is_text(value):
        msg = f"the argument {name!r} has lone surrogates, which no text has"
        raise InvalidInput(msg)
    return value


def _text_or_none(name: str, value: Any) -> str | None:
    return None if value is None else _text(name, value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        msg = f"the argument {name!r} is true or false, not {type(value).__name__}"
        raise InvalidInput(msg)
    return value


def _number(name: str, value: Any) -> int:
    if type(value) is not int or value < 0:  # exact: True is no number
        msg = f"the argument {name!r} is a whole number that is not negative"
        raise InvalidInput(msg)
    return value


def _repository(name: str, value: Any) -> RepositoryName:
    return RepositoryName.parse(_text(name, value))


def _kind(name: str, value: Any) -> Kind:
    text = _text(name, value)
    try:
        return Kind(text)
    except ValueError:
        msg = f"the argument {name!r} is {' or '.join(kind.value for kind in Kind)}, not {text[:80]!r}"
        raise InvalidInput(msg) from None


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"the argument {name!r} is an object, not {type(value).__name__}"
        raise InvalidInput(msg)
    return value


_CONVERTERS: dict[Any, Converter] = {
    str: _text,
    str | None: _text_or_none,
    bool: _flag,
    int: _number,
    RepositoryName: _repository,
    Kind: _kind,
    dict[str, Any]: _mapping,
}


_SCHEMAS: Mapping[Converter, Mapping[str, Any]] = {
    _text: {"type": "string", "maxLength": MAX_TEXT},
    _text_or_none: {"type": ["string", "null"], "maxLength": MAX_TEXT},
    _flag: {"type": "boolean"},
    _number: {"type": "integer", "minimum": 0},
    _repository: {"type": "string", "maxLength": MAX_REPOSITORY_NAME, "description": "<label>.<domain>"},
    _kind: {"type": "string", "enum": [kind.value for kind in Kind]},
    _mapping: {"type": "object"},
}


@dataclass(frozen=True, slots=True)
class Signature:
    """How a task may be called."""

    signature: inspect.Signature
    converters: Mapping[str, Converter]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "Signature":
        """Read the annotations of a task body.

        Raises:
            TypeError: a parameter has an annotation that cannot be checked.
        """
        hints = typing.get_type_hints(function)
        signature = inspect.signature(function)
        converters: dict[str, Converter] = {}
        for name in signature.parameters:
            try:
                converters[name] = _CONVERTERS[hints[name]]
            except KeyError:
                msg = f"{function.__qualname__}: the parameter {name!r} has an annotation that cannot be checked"
                raise TypeError(msg) from None
        return cls(signature, converters)

    def schema(self) -> dict[str, Any]:
        """How the task may be called, as JSON Schema of its arguments by name; by position they come in this order."""
        parameters = self.signature.parameters.items()
        properties: dict[str, dict[str, Any]] = {}
        for name, parameter in parameters:
            properties[name] = dict(_SCHEMAS[self.converters[name]])
            if parameter.default is not inspect.Parameter.empty:
                properties[name]["default"] = parameter.default
        required = [name for name, parameter in parameters if parameter.default is inspect.Parameter.empty]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": True}

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The checked arguments by name, ready to call the body with.

        Arguments by name that are not known are left out: a newer sender may say more than this worker understands.
        What an older one must not miss goes by position, or into another task.

        Raises:
            InvalidInput: one is missing, not known, of the wrong type or against its rule.
        """
        known = {name: value for name, value in kwargs.items() if name in self.converters}
        try:
            bound = self.signature.bind(*args, **known)
        except TypeError as exc:
            msg = f"the task cannot be called so: {exc}"
            raise InvalidInput(msg) from None
        return {name: self.converters[name](name, value) for name, value in bound.arguments.items()}
