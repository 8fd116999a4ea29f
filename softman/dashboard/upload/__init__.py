"""The tab "Upload": files from the browser straight into the bucket, and commands for other programs."""

from softman.dashboard.upload.routes import router

__all__ = ["router"]
