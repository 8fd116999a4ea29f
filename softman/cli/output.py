"""What commands print: tables on a terminal, tab-separated lines in a pipe, one JSON object a line for programs.

Names come from users, so nothing they contain may steer a terminal: control characters are shown escaped there.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import UTC, datetime
from typing import Any

_KIB = 1024


class Output:
    """Standard output of one command.

    Args:
        as_json: print JSON objects only.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    @property
    def on_terminal(self) -> bool:
        """Whether a person looks at standard output."""
        return sys.stdout.isatty()

    def record(self, value: Any) -> None:
        """Print one JSON object on a line of its own."""
        sys.stdout.write(json.dumps(to_json(value), separators=(",", ":"), sort_keys=False) + "\n")
        sys.stdout.flush()

    def line(self, text: str = "") -> None:
        """Print a line for people; control characters are escaped on a terminal."""
        sys.stdout.write((printable(text) if self.on_terminal else text) + "\n")

    def raw_line(self, data: bytes) -> None:
        """Print a name as it is in a pipe, escaped on a terminal."""
        if self.on_terminal:
            self.line(os.fsdecode(data))
        else:
            write_bytes(data + b"\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table: with headings on a terminal, else tab-separated lines without."""
        if not self.on_terminal:
            for row in rows:
                sys.stdout.write("\t".join(_one_cell(cell) for cell in row) + "\n")
            return
        # Here, because it takes longer to import than most commands run.
        from rich import box  # noqa: PLC0415 - slow to import
        from rich.console import Console  # noqa: PLC0415 - slow to import
        from rich.table import Table  # noqa: PLC0415 - slow to import
        from rich.text import Text  # noqa: PLC0415 - slow to import

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        Console(highlight=False, markup=False, emoji=False, soft_wrap=True).print(table)

    def facts(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Print name and value a line, values aligned."""
        pairs = list(pairs)
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            self.line(f"{name:<{width}}  {value}")


def warn(text: str) -> None:
    """Print one line to standard error, with control characters escaped."""
    sys.stderr.write(f"softman: {printable(text)}\n")


def write_bytes(data: bytes) -> None:
    """Write to standard output, after everything printed before."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def printable(text: str) -> str:
    """``text`` with everything that is no visible character shown as an escape sequence."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def to_json(value: Any) -> Any:
    """``value`` in JSON's types: dataclasses become objects, names and enumerations text, other bytes file names."""
    model = sys.modules.get("softman.model")  # takes a while to import: without it there are no such names
    if model is not None and isinstance(value, model.RepositoryName):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {name: to_json(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return os.fsdecode(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item) for item in value]
    return value


def typed_path(text: str) -> bytes:
    """A path as people write it (``/a/b/``, ``a/b``) in the library's form (``/a/b``; empty for the root)."""
    parts = [part for part in os.fsencode(text).split(b"/") if part not in {b"", b"."}]
    return b"".join(b"/" + part for part in parts)


def size(count: int) -> str:
    """A number of bytes for people."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < _KIB:
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _KIB
    return f"{amount:.1f} TiB"


def when(timestamp: float) -> str:
    """A Unix time for people, in UTC; a dash for none."""
    if not timestamp:
        return "-"
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _one_cell(text: str) -> str:
    return text.replace("\t", " ").replace("\n", " ")
