"""Serves the dashboard: ``python -m softman.dashboard.main``, settings from ``SOFTMAN_*``."""

import logging
import sys

import uvicorn

from softman.dashboard.app import create_app
from softman.log import configure_logging
from softman.settings import Settings, load_settings


def serve(settings: Settings) -> None:
    """Serve until a signal comes.

    Args:
        settings: those of the role ``dashboard``.
    """
    configure_logging(log_format=settings.log_format, level=settings.log_level)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    own = settings.dashboard
    app = create_app(settings)
    app.state.desk.start()
    uvicorn.run(
        app,
        host=own.listen_host,
        port=own.listen_port,
        log_config=None,
        access_log=False,  # ours is in security.RequestIdentity: without queries, which hold codes of logins
        server_header=False,
        proxy_headers=bool(own.trusted_proxies),
        forwarded_allow_ips=list(own.trusted_proxies),
        timeout_graceful_shutdown=10,
    )
    app.state.desk.close()


def main() -> int:
    """Serve with the settings of the environment."""
    serve(load_settings())
    return 0


if __name__ == "__main__":
    sys.exit(main())
