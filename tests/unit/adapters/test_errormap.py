"""The table of vendor exceptions: most specific class wins, causes are kept, other errors pass."""

from types import ModuleType

import pytest

from softman.adapters.errormap import Meaning, Table, meaning_of, translated, unmapped
from softman.errors import Busy, Conflict, NotFound, PermanentError, ServiceUnavailable, SoftmanError


class VendorError(Exception):
    pass


class VendorMissing(VendorError):
    pass


class VendorVeryMissing(VendorMissing):
    pass


class VendorCode(VendorError):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _by_code(exc: VendorCode) -> Meaning:
    return Meaning(Conflict, "changed meanwhile") if exc.code == 412 else Meaning(PermanentError, f"code {exc.code}")


TABLE: Table = {
    VendorError: Meaning(ServiceUnavailable, "it does not answer"),
    VendorMissing: Meaning(NotFound, "it is not there"),
    VendorCode: _by_code,
}


@pytest.mark.parametrize(
    ("exc", "error", "text"),
    [
        (VendorError("x"), ServiceUnavailable, "it does not answer"),
        (VendorMissing("x"), NotFound, "it is not there"),
        (VendorVeryMissing("x"), NotFound, "it is not there"),
        (VendorCode(412), Conflict, "changed meanwhile"),
        (VendorCode(500), PermanentError, "code 500"),
    ],
)
def test_most_specific_class_wins(exc: VendorError, error: type[SoftmanError], text: str) -> None:
    with pytest.raises(error) as caught, translated(TABLE, "open the box"):
        raise exc
    assert type(caught.value) is error
    assert str(caught.value) == f"cannot open the box: {text}"
    assert caught.value.__cause__ is exc


def test_vendor_text_is_not_copied() -> None:
    with pytest.raises(ServiceUnavailable) as caught, translated(TABLE, "open the box"):
        raise VendorError("password=hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("exc", [KeyError("k"), Busy("already ours"), KeyboardInterrupt()])
def test_everything_else_passes_unchanged(exc: BaseException) -> None:
    with pytest.raises(type(exc)) as caught, translated(TABLE, "open the box"):
        raise exc
    assert caught.value is exc


def test_a_block_without_error_does_nothing() -> None:
    with translated(TABLE, "open the box"):
        value = 1
    assert value == 1


def test_meaning_of_an_unlisted_class_is_none() -> None:
    assert meaning_of(TABLE, KeyError()) is None


def test_unmapped_names_the_classes_the_table_does_not_list() -> None:
    module = ModuleType("vendor")
    for cls in (type("A", (Exception,), {}), type("B", (Exception,), {}), type("W", (Warning,), {})):
        cls.__module__ = "vendor"
        setattr(module, cls.__name__, cls)
    module.KeyError = KeyError  # type: ignore[attr-defined]
    first: type[Exception] = module.A
    assert unmapped({first: Meaning(NotFound, "")}, module) == {"B", "W"}
    assert unmapped({first: Meaning(NotFound, "")}, module, base=Warning) == {"W"}
