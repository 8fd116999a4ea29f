"""The tab "Use it": steps to mount a repository, and downloads."""
