"""The main job, judged by the official tools: what a user put into the bucket, as a cluster's client shows it."""

import io
import tarfile
from pathlib import Path

import pytest

from softman import wiring
from softman.names import RepositoryName
from softman.services.mounting import Mounting
from tests.compat.conftest import StockClient, Swissknife
from tests.support.site import Site

pytestmark = pytest.mark.compat


@pytest.fixture(scope="module")
def published(site: Site) -> tuple[RepositoryName, dict[str, bytes]]:
    """A repository with files of a real tree, one changed, one removed."""
    name = site.provision("stock-view")
    bucket = site.bucket("stock-view")
    tree = Path(wiring.__file__).parent
    files = {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*.py")}
    for path, content in files.items():
        bucket.put(path, content)
    bucket.put("app.py", b"changed\n")
    bucket.delete("errors.py")
    files = {f"/{path}": content for path, content in (files | {"app.py": b"changed\n"}).items() if path != "errors.py"}
    site.shows(name, files)
    return name, files


def test_the_stock_tools_agree(
    site: Site,
    swissknife: Swissknife,
    stock_client: StockClient,
    published: tuple[RepositoryName, dict[str, bytes]],
    tmp_path: Path,
) -> None:
    name, files = published
    url, key = site.described(name).url, tmp_path / f"{name}.pub"
    key.write_bytes(wiring.public_keys(site.settings, name)[0])
    result = swissknife.check(url, key, str(name))
    assert result.returncode == 0, result.stdout + result.stderr
    with stock_client.mounted(url, key, str(name)) as mount_point:
        shown = {f"/{path.relative_to(mount_point)}": path for path in mount_point.rglob("*") if path.is_file()}
        assert {path: place.read_bytes() for path, place in shown.items()} == files


def test_the_configuration_bundle_is_all_a_client_needs(
    site: Site, stock_client: StockClient, published: tuple[RepositoryName, dict[str, bytes]], tmp_path: Path
) -> None:
    name, files = published
    url = site.described(name).url
    bundle = Mounting(name, url, wiring.public_keys(site.settings, name)).bundle()
    with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
        archive.extractall(tmp_path, filter="data")
    configuration = tmp_path / "etc" / "cvmfs" / "config.d" / f"{name}.conf"
    # Unpacked elsewhere than at "/", so that this host stays as it is.
    configuration.write_text(configuration.read_text().replace("/etc/cvmfs", str(tmp_path / "etc" / "cvmfs")))
    with stock_client.mounted(None, None, str(name), [configuration]) as mount_point:
        path, content = next(iter(files.items()))
        assert (mount_point / path.removeprefix("/")).read_bytes() == content
