"""What a page says after a wish was sent. An address carries only the key of a message, never its text."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """A short message that appears and goes."""

    title: str
    text: str = ""


_LATER = "A service is away at the moment. Your wish is kept and sent as soon as it is back."
_MESSAGES = {
    "requested": Message("Your repository is on its way", "It takes some seconds. You can watch it here."),
    "rolled-back": Message("Going back is on its way", "The earlier state shows in a moment."),
    "resumed": Message("The bucket is published again", "What differs appears in a moment."),
    "retired": Message("The repository is being retired"),
    "restored": Message("The repository is coming back"),
    "resynced": Message("Checking the whole bucket", "What differs is published now."),
    "requeued": Message("Sent again"),
    "discarded": Message("Discarded"),
    "quotas": Message("The limits are being changed"),
}


def said(key: str) -> Message | None:
    """The message of a key, ``key`` or ``key-later`` for a wish that waits; None when there is none."""
    message = _MESSAGES.get(key.removesuffix("-later"))
    if message is not None and key.endswith("-later"):
        return Message(message.title, _LATER)
    return message
