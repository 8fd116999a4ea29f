"""How the dashboard is served: whose word about addresses counts, and what is not logged."""

from typing import Any

import pytest

from softman.dashboard import main
from softman.settings import Settings


@pytest.fixture
def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The options of the server for settings of the dashboard."""

    def serve(**own: object) -> dict[str, Any]:
        found: dict[str, Any] = {}
        monkeypatch.setattr(main, "configure_logging", lambda **_: None)
        monkeypatch.setattr("uvicorn.run", lambda _app, **options: found.update(options))
        main.serve(settings.model_copy(update={"dashboard": settings.dashboard.model_copy(update=own)}))
        return found

    return serve


def test_nobody_but_a_trusted_proxy_says_where_requests_come_from(served: Any) -> None:
    alone, behind = served(), served(trusted_proxies=("10.0.0.1",))
    assert (alone["proxy_headers"], alone["forwarded_allow_ips"]) == (False, [])
    assert (behind["proxy_headers"], behind["forwarded_allow_ips"]) == (True, ["10.0.0.1"])


def test_it_listens_where_the_settings_say_and_logs_no_queries(served: Any) -> None:
    options = served(listen_host="127.0.0.2", listen_port=8081)
    assert (options["host"], options["port"]) == ("127.0.0.2", 8081)
    assert options["access_log"] is False
    assert options["server_header"] is False
