"""What an administrator does with dead letters: list, show, put back, throw away."""

from collections.abc import Callable
from dataclasses import dataclass

from softman.adapters.ports import DeadLetters
from softman.errors import InvalidInput, NotFound
from softman.model import DeadLetter, Fate

_SHORTEST_ID = 4


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters; a letter must meet every condition that is set.

    Attributes:
        ids: beginnings of ids, ``_SHORTEST_ID`` characters at least; empty for any.
        task: the task's name, with or without ``softman.`` in front.
        queue: where it came from.
        text: what its arguments, its reason or its body contain.
        before: Unix time; only letters that are here since before it.
    """

    ids: tuple[str, ...] = ()
    task: str | None = None
    queue: str | None = None
    text: str | None = None
    before: float | None = None

    def __post_init__(self) -> None:
        if any(len(each) < _SHORTEST_ID for each in self.ids):
            msg = f"an id of a dead letter has {_SHORTEST_ID} characters at least"
            raise InvalidInput(msg)

    @property
    def is_everything(self) -> bool:
        """Whether no condition is set."""
        return self == Selection()

    def __contains__(self, letter: DeadLetter) -> bool:
        return all((self._by_id(letter), self._by_task(letter), self._by_origin(letter), self._by_text(letter)))

    def _by_id(self, letter: DeadLetter) -> bool:
        return not self.ids or letter.id.startswith(self.ids)

    def _by_task(self, letter: DeadLetter) -> bool:
        return self.task is None or letter.task in {self.task, f"softman.{self.task}"}

    def _by_origin(self, letter: DeadLetter) -> bool:
        return self.queue in {None, letter.queue} and (self.before is None or letter.at < self.before)

    def _by_text(self, letter: DeadLetter) -> bool:
        text = self.text
        return text is None or text in letter.arguments or text in letter.reason or text.encode() in letter.body


class DeadLetterOffice:
    """The dead letters of one site.

    Args:
        letters: where they are.
    """

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters

    def count(self) -> int:
        """How many there are."""
        return self._letters.count()

    def find(self, selection: Selection) -> list[DeadLetter]:
        """Those that are selected, oldest first; all stay where they are."""
        found: list[DeadLetter] = []

        def look(letter: DeadLetter) -> Fate:
            if letter in selection:
                found.append(letter)
            return Fate.KEEP

        self._letters.visit(look)
        return found

    def show(self, id_: str) -> DeadLetter:
        """One letter, by its id or an unambiguous beginning of it.

        Raises:
            NotFound: there is none.
            InvalidInput: there are several.
        """
        found = {letter.id: letter for letter in self.find(Selection(ids=(id_,)))}
        if not found:
            msg = f"there is no dead letter {id_}"
            raise NotFound(msg)
        if len(found) > 1:
            msg = f"{id_} is the beginning of {len(found)} dead letters: {', '.join(sorted(found))}"
            raise InvalidInput(msg)
        return found.popitem()[1]

    def requeue(self, selection: Selection, done: Callable[[DeadLetter], None]) -> int:
        """Put letters back to the queues they came from, with their history.

        Args:
            selection: which ones. Those whose queue is not known stay.
            done: called with each, before it goes.

        Returns:
            How many stayed although they were selected, because their queue is not known.
        """
        stayed = 0

        def decide(letter: DeadLetter) -> Fate:
            nonlocal stayed
            if letter not in selection:
                return Fate.KEEP
            if not letter.queue:
                stayed += 1
                return Fate.KEEP
            done(letter)
            return Fate.REQUEUE

        self._letters.visit(decide)
        return stayed

    def discard(self, selection: Selection, done: Callable[[DeadLetter], None]) -> None:
        """Throw letters away.

        Args:
            selection: which ones.
            done: called with each, before it goes.
        """

        def decide(letter: DeadLetter) -> Fate:
            if letter not in selection:
                return Fate.KEEP
            done(letter)
            return Fate.DISCARD

        self._letters.visit(decide)
