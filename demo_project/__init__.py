"""A small shop that shows shopsearch at work."""

from demo_project.celery import app as celery_app

__all__ = ["celery_app"]
