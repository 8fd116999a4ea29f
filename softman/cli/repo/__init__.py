"""``softman repo``: repositories by their storage and keys, without the service."""
