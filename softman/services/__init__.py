"""What softman does. Knows ports and ``softman.cvmfs``; no Celery, no HTTP, no vendor."""
