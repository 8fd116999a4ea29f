"""softman: a bucket becomes a CernVM-FS repository, by itself.

The layers, outermost first, are drawn in ``docs/architecture.md`` and held by the import-linter contracts in
``pyproject.toml``.
"""


def __getattr__(name: str) -> str:
    """``__version__`` is looked up when asked for: the look-up costs 50 ms, too much for short-lived processes."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - the point of this function

        return version("softman")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
