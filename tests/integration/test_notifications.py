"""What owners do to the notification of their bucket, on a running site."""

from typing import Any

from softman.adapters.s3_client import s3_client
from softman.adapters.s3_http import SignedHttp
from softman.names import RepositoryName
from softman.tasks.catalogue import RECONCILE_REPOSITORY
from softman.tasks.client import TaskSender, client_app
from tests.support.site import Site

OWNER = "notified"


def notifications(site: Site, name: RepositoryName) -> list[Any]:
    client = s3_client(site.access(name))
    found = client.get_bucket_notification_configuration(Bucket=name.bucket)
    return list(found.get("TopicConfigurations", []))


def test_a_notification_that_its_owner_removed_is_restored(site: Site) -> None:
    name = site.provision(OWNER)
    before = notifications(site, name)
    assert [each["Id"] for each in before] == ["softman"]
    SignedHttp(site.access(name)).request("DELETE", f"/{name.bucket}", {"notification": ""})
    assert notifications(site, name) == []
    site.bucket(OWNER).put("unheard", b"of")
    TaskSender(client_app(site.settings)).send(RECONCILE_REPOSITORY, str(name))
    site.shows(name, {"/unheard": b"of"})
    site.wait(lambda: notifications(site, name) == before, "the notification is back")
