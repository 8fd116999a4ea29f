"""From a site's settings to the rules of its repositories. Pure."""

from collections.abc import Iterable

from softman.services.configuration import as_folder
from softman.services.mapping import SiteRules


def site_rules(*, links_anywhere: bool, unpack: bool, below: Iterable[str]) -> SiteRules:
    """What a site says about all repositories.

    Args:
        links_anywhere: symbolic links may lead out of their repository.
        unpack: archives are unpacked, unless the owner says otherwise.
        below: in these folders, as people write them.
    """
    return SiteRules(links_anywhere, unpack, tuple(map(as_folder, below)))
