"""The tab "Use it": steps to mount a repository, and downloads."""

from softman.dashboard.use.routes import router

__all__ = ["router"]
