"""Serves the repository gateway: ``python -m softman.gateway.main``, with the settings of publishers."""

import sys

import uvicorn

from softman import wiring_gateway
from softman.gateway.app import create_app
from softman.log import configure_logging
from softman.settings import Settings, load_settings

_CONNECTIONS = 200


def serve(settings: Settings) -> None:
    """Serve until a signal comes.

    Args:
        settings: those of publishers, with the section ``gateway``.
    """
    configure_logging(log_format=settings.log_format, level=settings.log_level)
    own = settings.gateway
    uvicorn.run(
        create_app(wiring_gateway.gateway(settings)),
        host=own.listen_host,
        port=own.listen_port,
        log_config=None,
        access_log=False,  # addresses hold tokens
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        ssl_certfile=own.certificate_file,
        ssl_keyfile=own.key_file,
        timeout_graceful_shutdown=10,
    )


def main() -> int:
    """Serve with the settings of the environment."""
    serve(load_settings())
    return 0


if __name__ == "__main__":
    sys.exit(main())
