"""Every error survives pickling and printing, has a code of its own, and stands in the table of exit codes."""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from softman.cli import exitcodes
from softman.cvmfs.errors import CvmfsError
from softman.errors import Busy, PermanentError, SoftmanError, TransientError

ROOT = Path(__file__).resolve().parents[2]


def _family(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for kind in root.__subclasses__():
        yield from _family(kind)


OURS = [kind for root in (SoftmanError, CvmfsError) for kind in _family(root) if kind.__module__.startswith("softman.")]
PUBLIC = [
    kind for kind in OURS if kind.__module__ in {"softman.errors", "softman.cvmfs.errors", "softman.cli.failures"}
]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_survives_pickle_and_str(kind: type[Exception]) -> None:
    error = kind("what happened")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is kind
    assert copy.args == error.args
    assert str(copy) == "what happened"


def test_codes_are_unique() -> None:
    codes = [vars(kind)["code"] for kind in PUBLIC]
    assert len(set(codes)) == len(codes)


def test_every_error_of_the_service_is_transient_or_permanent() -> None:
    undecided = [kind for kind in _family(SoftmanError) if not issubclass(kind, TransientError | PermanentError)]
    assert undecided == [SoftmanError]


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_has_an_exit_code(kind: type[Exception]) -> None:
    assert kind in exitcodes.OUTCOMES


def test_exit_codes_are_unique_and_apart_from_the_fixed_ones() -> None:
    codes = [outcome.code for outcome in exitcodes.OUTCOMES.values()]
    fixed = {exitcodes.OK, exitcodes.BUG, exitcodes.USAGE, exitcodes.LOCAL}
    assert len(set(codes)) == len(codes)
    assert not set(codes) & fixed
    assert max(codes) < 126  # above, the shell speaks


def test_a_class_without_an_entry_gets_that_of_its_parent() -> None:
    class Special(Busy):
        pass

    assert exitcodes.outcome(Special("x")) is exitcodes.OUTCOMES[Busy]
    assert exitcodes.outcome(ValueError("x")).code == exitcodes.BUG


def test_the_documentation_lists_every_exit_code() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| (\d+) \| `?(\w+)", text, re.MULTILINE))
    for kind, outcome in exitcodes.OUTCOMES.items():
        assert listed.get(str(outcome.code)) == kind.__name__
