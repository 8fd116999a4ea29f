"""What may be asked of the workers: names, queues and Celery settings. No task code."""
