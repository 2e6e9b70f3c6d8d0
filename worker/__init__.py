"""The Celery application over the library."""
