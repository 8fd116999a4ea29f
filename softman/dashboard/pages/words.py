"""The words that people read for what the service calls something else: conditions, steps, problems. Pure."""

from dataclasses import dataclass
from typing import Final

from softman.dashboard.desk_views import Condition, Part
from softman.model import Link, LinkState

CONDITIONS: Final = {
    Condition.MAKING: ("Being made", "busy"),
    Condition.STOPPED: ("Could not be finished", "bad"),
    Condition.PUBLISHING: ("Publishing", "busy"),
    Condition.FAILING: ("Not publishing", "bad"),
    Condition.READY: ("Ready", "good"),
    Condition.LOCKED: ("Locked", "warn"),
    Condition.PAUSED: ("Paused", "warn"),
    Condition.RETIRED: ("Retired", ""),
    Condition.UNKNOWN: ("Not known now", "warn"),
}
"""What a badge says, and its kind."""

MISSING: Final = {
    Part.VAULT: "The list of repositories is as of some time ago: the key store does not answer.",
    Part.REDIS: "Progress and recent activity are not known right now. Publishing goes on as soon as it can.",
    Part.BROKER: "The work queue does not answer. What you ask for is kept here, and sent when it is back.",
    Part.REPOSITORIES: "The server that shows published files does not answer right now.",
    Part.OBJECT_STORE: "The object store does not answer right now. New files are published when it is back.",
    Part.STRATUM0: "The server that signs new versions does not answer right now.",
}
"""What it means for a reader that a part is away."""

SERVICES: Final = {
    Part.VAULT: "Vault",
    Part.REDIS: "Redis",
    Part.BROKER: "RabbitMQ",
    Part.REPOSITORIES: "Web server of the repositories",
    Part.OBJECT_STORE: "Object store",
    Part.STRATUM0: "Stratum 0",
}

STEPS: Final = {
    Link.CREATE_REPOSITORY: ("Create the repository", "Empty for now, with an address and a signature of its own."),
    Link.PUBLISH_KEYS: ("Store its keys", "With them everybody can check that the files are really yours."),
    Link.ATTACH_PUBLISHER: ("Connect the publisher", "It copies what you upload to where everybody reads it."),
    Link.CONNECT_BUCKET: ("Prepare your bucket", "This is where you put your files."),
    Link.FIRST_SYNC: ("Publish what is there", "Files that are in the bucket already are published first."),
}
STEP_STATES: Final = {
    LinkState.WAITING: "waiting",
    LinkState.RUNNING: "under way",
    LinkState.RETRYING: "trying again",
    LinkState.DONE: "done",
    LinkState.FAILED: "failed",
}


@dataclass(frozen=True, slots=True)
class _Advice:
    parts: tuple[str, ...]
    """Any of these is in the reason."""
    text: str


_ADVICE: Final = (
    _Advice(("configuration is not valid",), "Correct the file cvmfs/.softman.toml and upload it again."),
    _Advice(("folder wins",), "Rename the file or the folder: both cannot have the same name."),
    _Advice(("has the same place",), "Keep one of the two, or rename this one."),
    _Advice(("quota", "at most", "too large", "too many", "limit"), "Remove something, or ask for a higher limit."),
    _Advice(("archive", "unpack", "member"), "Pack it again without what the reason names, or let it stay a file."),
    _Advice(("link",), "Let the link lead to a place inside the repository."),
    _Advice(("name", "character", "bytes", "'..'", "//", "control", ".cvmfs"), "Give it another name in the bucket."),
    _Advice(("read", "permission", "denied"), "Let the service read the object, or upload it again."),
)  # fmt: skip


def advice(reason: str) -> str:
    """What the owner of a refused key can do about it."""
    folded = reason.lower()
    found = (each.text for each in _ADVICE if any(part in folded for part in each.parts))
    return next(found, "Correct the file and upload it again.")
