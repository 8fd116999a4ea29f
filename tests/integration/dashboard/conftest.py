"""A browser at the dashboard of the site."""

from collections.abc import Iterator

import pytest

from tests.support.browsing import Browser
from tests.support.site import Site


@pytest.fixture
def browser(site: Site) -> Iterator[Browser]:
    dashboard = site.stack.dashboard
    assert dashboard is not None
    with Browser(dashboard) as browser:
        yield browser
