"""Selecting dead letters, and what is done with them."""

import pytest

from softman.adapters.memory_letters import MemoryDeadLetters
from softman.errors import InvalidInput, NotFound
from softman.model import DeadLetter, Death
from softman.services.deadletters import DeadLetterOffice, Selection


def _letter(
    id_: str, queue: str = "publisher", arguments: str = '["alice.example.org"]', at: float = 1.0
) -> DeadLetter:
    task = "softman.publish_changes" if arguments else ""
    return DeadLetter(id_, queue, task, "", arguments, (Death(at, queue, f"reason {id_}"),), b"body " + id_.encode())


LETTERS = (_letter("aaaa11"), _letter("aaaa22", "s3-events", "", 5.0), _letter("bbbb33", "", '["bob.example.org"]'))


@pytest.fixture
def letters() -> MemoryDeadLetters:
    found = MemoryDeadLetters()
    found.letters.extend(LETTERS)
    return found


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(), "123"),
        (Selection(ids=("aaaa2", "bbbb")), "23"),
        (Selection(task="publish_changes"), "13"),
        (Selection(task="softman.publish_changes"), "13"),
        (Selection(task="resync"), ""),
        (Selection(queue="s3-events"), "2"),
        (Selection(text="alice"), "1"),
        (Selection(text="reason b"), "3"),
        (Selection(text="body a"), "12"),
        (Selection(before=5.0), "13"),
        (Selection(text="alice", queue="s3-events"), ""),
    ],
)
def test_every_condition_counts(letters: MemoryDeadLetters, selection: Selection, found: str) -> None:
    assert "".join(letter.id[-1] for letter in DeadLetterOffice(letters).find(selection)) == found
    assert letters.letters == list(LETTERS)


def test_one_letter_is_shown_by_the_beginning_of_its_id(letters: MemoryDeadLetters) -> None:
    office = DeadLetterOffice(letters)
    assert office.show("bbbb") is LETTERS[2]
    with pytest.raises(InvalidInput, match="2 dead letters: aaaa11, aaaa22"):
        office.show("aaaa")
    with pytest.raises(NotFound):
        office.show("cccc")
    with pytest.raises(InvalidInput, match="4 characters"):
        office.show("a")


def test_what_cannot_go_back_stays_and_is_counted(letters: MemoryDeadLetters) -> None:
    told: list[str] = []
    assert DeadLetterOffice(letters).requeue(Selection(), lambda letter: told.append(letter.id)) == 1
    assert told == ["aaaa11", "aaaa22"]
    assert letters.returned == [*LETTERS[:2]]
    assert letters.letters == [LETTERS[2]]


def test_what_is_selected_is_thrown_away(letters: MemoryDeadLetters) -> None:
    told: list[str] = []
    DeadLetterOffice(letters).discard(Selection(queue="publisher"), lambda letter: told.append(letter.id))
    assert told == ["aaaa11"]
    assert letters.letters == [*LETTERS[1:]]
    assert letters.returned == []
