"""``python -m softman``: the command ``softman``."""

from softman.cli.main import main

main()
