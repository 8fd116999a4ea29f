"""Prints the OpenAPI description: ``python -m softman.dashboard.openapi``, which ``softman openapi`` runs."""

import json
import sys
from tempfile import TemporaryDirectory

from softman.dashboard.app import create_app
from softman.settings import load_settings


def main() -> int:
    """Print the description as docs/openapi.json has it."""
    with TemporaryDirectory(prefix="softman-openapi-") as directory:
        app = create_app(load_settings(state_dir=directory, dashboard={"state_dir": directory}))
        sys.stdout.write(json.dumps(app.openapi(), indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
