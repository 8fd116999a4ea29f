"""The example of docs/integration.md, as it stands there, run by a portal that has Celery and nothing of softman."""

import re
import subprocess
import sys
from pathlib import Path

from softman.standalone.process import base_environment
from tests.support.patience import SECONDS
from tests.support.site import Site

PAGE = Path(__file__).parents[3] / "docs" / "integration.md"


def test_the_example_of_the_page_works(site: Site, unique: str, tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    assert "softman" not in re.sub(r'"[^"]*"', "", found[1].replace("softman for a task", "")).replace("softman's", "")
    (tmp_path / "portal.py").write_text(found[1], encoding="utf-8")
    environment = {
        **base_environment(),
        "BROKER_URL": site.stack.broker_url("client"),
        "RESULTS_URL": site.stack.cache_url("client"),
        "PORTAL_USER": unique,
    }
    done = subprocess.run(
        [sys.executable, "-I", "portal.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"made: {unique}.example.org" in done.stdout.replace(site.settings.domain, "example.org")
    assert done.stdout.count("link: ") == 5
    assert "synced: nothing to publish" in done.stdout or "synced: revision" in done.stdout
