"""What the API answers to administrators."""

from typing import Self

from pydantic import Field

from softman import model
from softman.dashboard import desk_views as views
from softman.dashboard.api.schemas import Answer, UnixTime


class Queue(Answer):
    """A queue of the message broker."""

    name: str = Field(examples=["publisher"])
    messages: int = Field(description="That wait.")
    consumers: int
    waiting_since: UnixTime | None = Field(
        description="Since when it was not seen empty: the oldest message waits no longer. Null when it is empty."
    )

    @classmethod
    def of(cls, seen: views.Queue) -> Self:
        """From what the desk says."""
        return cls(name=seen.name, messages=seen.messages, consumers=seen.consumers, waiting_since=seen.waiting_since)


class Worker(Answer):
    """A worker that answers."""

    name: str = Field(examples=["publisher@node1"])
    queues: list[str]
    active: int = Field(description="Tasks it is at work on.")
    processed: int = Field(description="Tasks since it was started.")
    processes: int

    @classmethod
    def of(cls, seen: model.WorkerState) -> Self:
        """From what the worker says."""
        return cls(
            name=seen.name,
            queues=list(seen.queues),
            active=seen.active,
            processed=seen.processed,
            processes=seen.processes,
        )


class Death(Answer):
    """Why a message came to the dead letters."""

    at: UnixTime
    queue: str
    reason: str


class DeadLetter(Answer):
    """A message that nobody could work on."""

    id: str = Field(examples=["3f0a9c1d2e4b"])
    queue: str = Field(description="Where it goes back to; empty when that is not known.")
    task: str
    task_id: str
    arguments: str = Field(description="As JSON, for a task.")
    deaths: list[Death] = Field(description="The last one first.")
    bytes: int

    @classmethod
    def of(cls, letter: model.DeadLetter) -> Self:
        """From what lies there."""
        return cls(
            id=letter.id,
            queue=letter.queue,
            task=_text(letter.task),
            task_id=_text(letter.task_id),
            arguments=_text(letter.arguments),
            deaths=[Death(at=each.at, queue=each.queue, reason=_text(each.reason)) for each in letter.deaths],
            bytes=len(letter.body),
        )


class Health(Answer):
    """Whether a part of softman answers."""

    part: views.Part
    answers: bool
    detail: str
    seconds: float = Field(description="How long the answer took.")

    @classmethod
    def of(cls, seen: views.Health) -> Self:
        """From what the desk says."""
        return cls(part=seen.part, answers=seen.answers, detail=_text(seen.detail), seconds=seen.seconds)


class Overview(Answer):
    """How the service stands as a whole."""

    parts: list[Health]
    concerns: list[str] = Field(description="What an administrator should look at.")
    repositories: int
    waiting: int = Field(description="Requests that wait for the message broker.")
    listed_at: UnixTime | None = Field(description="When the registry was listed.")

    @classmethod
    def of(cls, seen: views.Overview) -> Self:
        """From what the desk says."""
        return cls(
            parts=[Health.of(part) for part in seen.parts],
            concerns=list(seen.concerns),
            repositories=seen.repositories,
            waiting=seen.waiting,
            listed_at=seen.listed_at,
        )


def _text(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
