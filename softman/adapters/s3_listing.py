"""One page of a bucket listing: the XML of ListObjectsV2 to objects; pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from softman.errors import Corrupt, ServiceUnavailable
from softman.model import BucketObject

_NOT_XML = re.compile(rb"&#x(?:[01]?[0-9a-fA-F]|[fF]{3}[eEfF]);|[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]")
_SECONDS = len("2026-01-31T23:59:59")


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its objects, the last key, and whether more follow after that."""

    objects: list[BucketObject]
    last: str
    more: bool


def parse_page(body: bytes, bucket: str, after: str) -> Page:
    """Read one page that was asked for with ``encoding-type=url``.

    A listing that cannot be trusted to be whole and in order is an error, since what is not listed gets unpublished.

    Args:
        body: the answer.
        bucket: its name, for messages.
        after: the last key of the page before.

    Raises:
        ServiceUnavailable: this is no listing, or an empty page that says that more follow.
        Corrupt: keys are not in the order of their UTF-8, or not in UTF-8.
    """
    # Keys are URL-encoded, but RGW (16.2) echoes the last one raw in NextContinuationToken; a control character in it
    # makes the page ill-formed. We go on from the last key instead of that token, so it may be spoilt here.
    try:
        root = ET.fromstring(_NOT_XML.sub(b"?", body))  # noqa: S314  (expat bounds entities, the store is ours)
    except ET.ParseError as exc:
        msg = f"the listing of bucket {bucket} is no XML"
        raise ServiceUnavailable(msg) from exc
    space = root.tag.rpartition("}")[0]
    name = f"{space}}}" if space else ""
    if root.tag != f"{name}ListBucketResult":
        msg = f"the listing of bucket {bucket} is none: <{root.tag[-60:]}>"
        raise ServiceUnavailable(msg)
    encoded = root.findtext(f"{name}EncodingType") == "url"
    objects = []
    for row in root.iterfind(f"{name}Contents"):
        found = _read_row(row, name, bucket, encoded=encoded)
        if found.key <= after:  # code points sort as their UTF-8 does
            msg = f"the listing of bucket {bucket} is not in order: {found.key[:80]!r} comes after {after[:80]!r}"
            raise Corrupt(msg)
        after = found.key
        objects.append(found)
    more = root.findtext(f"{name}IsTruncated") == "true"
    if more and not objects:
        msg = f"the listing of bucket {bucket} gave an empty page and says that more follow"
        raise ServiceUnavailable(msg)
    return Page(objects, after, more)


def _read_row(row: ET.Element, name: str, bucket: str, *, encoded: bool) -> BucketObject:
    try:
        key = row.findtext(f"{name}Key", "")
        return BucketObject(
            # AWS writes a space as "+", RGW as %20; a plus sign is %2B with both
            unquote_plus(key, errors="strict") if encoded else key,
            int(row.findtext(f"{name}Size", "")),
            row.findtext(f"{name}ETag", "").strip('"'),
            datetime.fromisoformat(row.findtext(f"{name}LastModified", "")[:_SECONDS] + "+00:00").timestamp(),
        )
    except ValueError as exc:
        msg = f"the listing of bucket {bucket} has an entry that cannot be read: {exc}"
        raise Corrupt(msg) from exc
