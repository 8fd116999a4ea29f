"""A request that is made while RabbitMQ is away: kept through a restart of the dashboard, sent when it is back."""

from pathlib import Path

from fastapi.testclient import TestClient
from pydantic import SecretStr

from softman.dashboard.app import create_app
from softman.dashboard.outbox import Outbox
from softman.identity import Principal
from softman.model import LinkState
from softman.names import Kind
from softman.settings import Settings
from tests.support.chaos.proxy import Proxy, Weather
from tests.support.site import Site


def _behind(site: Site, proxy: Proxy, state_dir: Path) -> Settings:
    """The dashboard's own settings and rights, with the proxy before the broker."""
    settings = site.stack.settings("dashboard")
    port = str(site.stack.rabbitmq.facts.ports["amqp"])
    own = settings.dashboard.model_copy(update={"state_dir": state_dir})
    broker = settings.broker_url.get_secret_value()
    assert port in broker
    return settings.model_copy(
        update={"dashboard": own, "broker_url": SecretStr(broker.replace(f":{port}", f":{proxy.port}"))}
    )


def test_a_request_waits_for_the_broker_and_survives_a_restart(site: Site, unique: str, tmp_path: Path) -> None:
    who = Principal(unique, unique)
    site.stack.create_s3_user(unique)
    with Proxy(site.stack.rabbitmq.facts.ports["amqp"]) as proxy:
        settings = _behind(site, proxy, tmp_path)
        proxy.set(Weather.CUT)
        first = create_app(settings)
        with TestClient(first, base_url=settings.dashboard.url):
            receipts = [first.state.desk.request(who, Kind.PERSONAL) for _ in range(2)]
        assert [receipt.queued for receipt in receipts] == ["outbox"] * 2
        name = receipts[0].repository
        assert site.link_states(name) == set()
        second = create_app(settings)
        with TestClient(second, base_url=settings.dashboard.url):
            proxy.set(Weather.FAIR)
            site.wait(lambda: site.link_states(name) == {LinkState.DONE}, f"{name} is provisioned")
            site.wait(lambda: Outbox(second.state.store).waiting() == 0, "nothing waits any more")
    assert site.dead_letters() == []
