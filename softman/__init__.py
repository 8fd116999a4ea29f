"""softman: a bucket becomes a CernVM-FS repository, by itself.

The layers, outermost first, are drawn in ``docs/architecture.md`` and held by the import-linter contracts in
``pyproject.toml``.
"""

from importlib.metadata import version

__version__ = version("softman")
