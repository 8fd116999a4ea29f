"""The rules of one repository as of now: the bucket's configuration, and the last good one where that is broken."""

from dataclasses import dataclass

from softman.adapters.ports import BucketReader
from softman.errors import InvalidInput
from softman.model import MAX_CONFIGURATION, Refusal, RegistryRecord
from softman.services.configuration import CONFIGURATION_KEY, Configuration, parse_configuration
from softman.services.mapping import Rules, SiteRules


@dataclass(frozen=True, slots=True)
class BucketRules:
    """What was found.

    Attributes:
        rules: the mapping to follow.
        changed: the configuration's text, when the registry has another one as the last good one.
        refusal: why the configuration in the bucket is not followed.
    """

    rules: Rules
    changed: str | None = None
    refusal: Refusal | None = None


def read_rules(buckets: BucketReader, record: RegistryRecord, site: SiteRules) -> BucketRules:
    """Read the configuration of a repository's bucket; without one, the usual rules hold.

    Raises:
        ServiceUnavailable: the object store does not answer.
        Conflict: the object changed while it was read.
        NotFound: the bucket is gone.
    """
    name, kept = record.repository, record.configuration
    etag = ""
    try:
        with buckets.read(name.bucket, CONFIGURATION_KEY) as body:
            if body is None:
                return BucketRules(Rules(str(name), None, site), "" if kept else None)
            etag = body.info.etag
            content = bytearray()
            for chunk in body.chunks():
                content += chunk
                if len(content) > MAX_CONFIGURATION:
                    break
        found = parse_configuration(bytes(content))
    except InvalidInput as exc:
        instead = "the last good one stays in force" if kept else "the usual rules hold"
        refusal = Refusal(CONFIGURATION_KEY, f"the configuration is not valid, and {instead}: {exc}", etag)
        return BucketRules(Rules(str(name), _last_good(kept), site), None, refusal)
    return BucketRules(Rules(str(name), found, site), None if found.text == kept else found.text)


def _last_good(text: str) -> Configuration | None:
    """Written by stratum 0, which checked it; but an older softman may not know what a newer one did."""
    try:
        return parse_configuration(text.encode())
    except InvalidInput:
        return None
