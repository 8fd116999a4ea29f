"""Structured logging: a constant event, fields as keywords, one line each; task id and repository bound to the context.

Secrets never reach a log line: settings keep them in ``SecretStr``, messages carry ids only, and tracebacks are
plain, without the values of local variables. Nor can anything that users name forge a line or steer a terminal: what is
not printable is escaped, and further lines of a text are indented.
"""

import logging
import sys
from collections.abc import MutableMapping
from io import StringIO
from typing import Any, TextIO

import structlog

_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


_INDENT = "    "
_QUOTED = frozenset(" \t=\r\n\"'")
"""Whatever has one of these structlog shows by ``repr``."""


def _escaped(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape what is not printable in every value, for people; JSON does so by itself."""
    for name, value in fields.items():
        if isinstance(value, str) and not value.isprintable():
            if name == "event":
                fields[name] = _indented(value)
            elif _QUOTED.isdisjoint(value):
                fields[name] = repr(value)[1:-1]
    return fields


def _indented(text: str) -> str:
    lines = text.rstrip("\n").replace("\r\n", "\n").split("\n")
    return f"\n{_INDENT}".join(line if line.isprintable() else repr(line)[1:-1] for line in lines)


def _traceback(stream: TextIO, exc_info: Any) -> None:
    """As structlog's ``plain_traceback``, whose text ends with the exception's own, which may quote anything."""
    plain = StringIO()
    structlog.dev.plain_traceback(plain, exc_info)
    stream.write(_INDENT + _indented(plain.getvalue()))


def configure_logging(*, log_format: str = "human", level: str = "INFO") -> None:
    """Send all logging of this process to standard error.

    Args:
        log_format: ``human`` for a terminal or a journal, ``json`` for one JSON object a line.
        level: name of the least level that is shown.
    """
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=_traceback)
    )
    tail: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if log_format == "json":
        tail.append(structlog.processors.format_exc_info)
    else:
        tail.append(_escaped)
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_PROCESSORS, processors=[*tail, renderer])
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    structlog.configure(
        processors=[*_PROCESSORS, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose methods take a constant event and keyword fields."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


bind_context = structlog.contextvars.bind_contextvars
clear_context = structlog.contextvars.clear_contextvars
