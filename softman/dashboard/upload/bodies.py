"""What the page's scripts send and get. Sizes are bytes, times Unix seconds."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from softman.services.uploads import LocalFile

MOST_PLANNED = 1000
MOST_SIGNED = 100
MOST_FOLLOWED = 500
_Path = Annotated[str, Field(max_length=2000)]
_Upload = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileBody(_Body):
    """A file in the browser."""

    path: _Path
    size: Annotated[int, Field(ge=0, le=10**15)]
    mtime: float | None = None

    @property
    def local(self) -> LocalFile:
        """As services know it."""
        return LocalFile(self.path, self.size, self.mtime)


class PlanBody(_Body):
    """Files that somebody would like to upload."""

    files: Annotated[list[FileBody], Field(max_length=MOST_PLANNED)]


class SignBody(_Body):
    """Small files that shall be put now."""

    files: Annotated[list[FileBody], Field(max_length=MOST_SIGNED)]


class BeginBody(_Body):
    """A large file."""

    file: FileBody


class UploadBody(_Body):
    """An upload in parts, of a file."""

    file: FileBody
    upload: _Upload


class PartsBody(UploadBody):
    """Parts of it that shall be put now."""

    numbers: Annotated[list[Annotated[int, Field(ge=1, le=10_000)]], Field(max_length=MOST_SIGNED)]


class FollowBody(_Body):
    """ETags of files that were uploaded, by path."""

    etags: Annotated[dict[_Path, Annotated[str, Field(max_length=128)]], Field(max_length=MOST_FOLLOWED)]


class PlannedAnswer(_Body):
    """What would become of a file; see ``Planned``."""

    shown: str
    kind: str
    reason: str | None
    replaces: int | None
    part: int


class PlanAnswer(_Body):
    """What would become of several, in their order."""

    files: list[PlannedAnswer]
    bytes_left: int | None
    entries_left: int | None


class RequestAnswer(_Body):
    """A PUT that may be sent once, or the reason why there is none."""

    url: str = ""
    headers: dict[str, str] = {}
    reason: str | None = None


class SignAnswer(_Body):
    """One each, in the order of the files."""

    requests: list[RequestAnswer]


class BegunAnswer(_Body):
    """An upload in parts has begun."""

    upload: str


class PartsAnswer(_Body):
    """A request for each part, by number."""

    requests: dict[int, RequestAnswer]


class ArrivedAnswer(_Body):
    """The parts that are there."""

    numbers: list[int]


class CompletedAnswer(_Body):
    """The object is there."""

    etag: str


class PublishedAnswer(_Body):
    """What has become of files that were uploaded."""

    published: list[str]
    refused: dict[str, str]
    """The reasons, by path."""
