"""Circuits open after failures in a row, let one caller try after a pause, and close when that one got an answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from softman.adapters.circuit import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, Circuit, GuardedStore, StoreOutage, guarded
from softman.cvmfs.errors import ObjectMissing, StoreUnavailable
from softman.errors import NotFound, Outage, ServiceUnavailable


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Service:
    """Answers, or raises what it is told to."""

    kind = "service"

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls = 0

    def _ask(self) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error

    def get(self, text: str) -> str:
        self._ask()
        return text

    def items(self, after: int = 0) -> Iterator[int]:
        for number in range(3):
            if number == after:
                self._ask()
            yield number

    @contextmanager
    def opened(self) -> Iterator[str]:
        self._ask()
        yield "open"


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def circuit(time: Time) -> Circuit:
    return Circuit("the service", time)


@pytest.fixture
def service() -> Service:
    return Service()


def _break(service: Service, circuit: Circuit) -> None:
    service.error = ServiceUnavailable("no answer")
    for _ in range(FAILURES):
        with pytest.raises(ServiceUnavailable, match="no answer"):
            guarded(service, circuit).get("x")


def test_the_last_failure_of_a_row_and_all_calls_after_it_are_outages(service: Service, circuit: Circuit) -> None:
    port = guarded(service, circuit)
    service.error = ServiceUnavailable("no answer")
    kinds = []
    for _ in range(FAILURES + 5):
        with pytest.raises(ServiceUnavailable) as caught:
            port.get("x")
        kinds.append(type(caught.value))
    assert kinds == [ServiceUnavailable] * (FAILURES - 1) + [Outage] * 6
    assert service.calls == FAILURES
    assert "the service does not answer" in str(caught.value)


def test_failures_that_are_not_in_a_row_open_nothing(service: Service, circuit: Circuit) -> None:
    port = guarded(service, circuit)
    for error in (ServiceUnavailable("no"), ServiceUnavailable("no"), NotFound("not there")) * 3:
        service.error = error
        with pytest.raises(type(error)):
            port.get("x")
    assert not circuit.is_open


def test_defects_are_neither_answer_nor_failure(service: Service, circuit: Circuit) -> None:
    _break(service, circuit)
    time = circuit._clock
    assert isinstance(time, Time)
    time.now += 2 * FIRST_PAUSE
    service.error = KeyError("x")
    with pytest.raises(KeyError):
        guarded(service, circuit).get("x")
    assert circuit.is_open


def test_after_a_pause_one_may_try_and_an_answer_closes_it(service: Service, circuit: Circuit, time: Time) -> None:
    _break(service, circuit)
    time.now += 2 * FIRST_PAUSE
    service.error = None
    with circuit.guard(), pytest.raises(Outage), circuit.guard():  # somebody else, meanwhile
        pass
    assert guarded(service, circuit).get("x") == "x"


def test_pauses_grow_up_to_a_bound(service: Service, circuit: Circuit, time: Time) -> None:
    _break(service, circuit)
    calls = service.calls
    while time.now < 10 * LONGEST_PAUSE:
        time.now += 0.1
        with pytest.raises(Outage):
            guarded(service, circuit).get("x")
    tries = service.calls - calls
    assert 10 <= tries <= 30
    service.error = None
    time.now += LONGEST_PAUSE
    assert guarded(service, circuit).get("x") == "x"


def test_iterators_and_context_managers_count_when_they_are_used(service: Service, circuit: Circuit) -> None:
    port = guarded(service, circuit)
    assert list(port.items()) == [0, 1, 2]
    with port.opened() as opened:
        assert opened == "open"
    service.error = ServiceUnavailable("no answer")
    for after in (2, 0):  # at first it answers, and that counts, too
        with pytest.raises(ServiceUnavailable):
            list(port.items(after))
    with pytest.raises(Outage), port.opened():
        pass
    assert circuit.is_open
    calls = service.calls
    port.items()  # not used: not asked
    with pytest.raises(Outage):
        list(port.items())
    assert service.calls == calls


def test_the_outage_of_another_service_inside_a_block_counts_there(circuit: Circuit, service: Service) -> None:
    other = Circuit("the other one")
    for _ in range(2 * FAILURES):
        with pytest.raises(ServiceUnavailable), guarded(service, circuit).opened(), other.guard():
            raise ServiceUnavailable
    assert other.is_open
    assert not circuit.is_open


def test_what_is_no_method_is_passed_on(service: Service, circuit: Circuit) -> None:
    assert guarded(service, circuit).kind == "service"


class Store:
    """A store that breaks."""

    def __init__(self) -> None:
        self.error: Exception = StoreUnavailable("no answer")

    def fail(self, *_: object, **__: object) -> NoReturn:
        raise self.error

    open = get = exists = fail


def test_a_store_has_errors_of_its_own(circuit: Circuit) -> None:
    broken = Store()
    store = GuardedStore(broken, circuit)
    with pytest.raises(StoreUnavailable):
        store.exists("x")
    with pytest.raises(StoreUnavailable):
        store.get("x", max_size=1)
    with pytest.raises(StoreOutage), store.open("x"):
        pass
    broken.error = ObjectMissing("x")
    with pytest.raises(StoreOutage):
        store.exists("x")


def test_a_circuit_can_be_looked_at_without_asking(time: Time, service: Service) -> None:
    circuit = Circuit("the service", time, most=1)
    circuit.check()
    service.error = ServiceUnavailable("no answer")
    with pytest.raises(Outage, match="no answer"):
        guarded(service, circuit).get("x")
    with pytest.raises(Outage, match="the service does not answer; it is asked again in"):
        circuit.check()
    time.now += FIRST_PAUSE
    circuit.check()  # somebody may try
    service.error = None
    assert guarded(service, circuit).get("x") == "x"
    circuit.check()
