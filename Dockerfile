# Two images of the demo shop: `web` has no model framework, `worker` has them all.
FROM python:3.11.13-slim-bookworm AS web
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv/shop
RUN useradd --uid 10001 --create-home shop && install --directory --owner shop /srv/state
COPY constraints.txt pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY shopsearch shopsearch
RUN pip install -c constraints.txt ".[metrics]" uvicorn "psycopg[binary]"
COPY manage.py ./
COPY demo_project demo_project
ENV DJANGO_SETTINGS_MODULE=demo_project.settings SHOPSEARCH_DEMO_DIR=/srv/state DEBUG=0
USER shop
EXPOSE 8000
CMD ["uvicorn", "demo_project.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--no-access-log"]

FROM web AS worker
USER root
RUN pip install -c constraints.txt torch && pip install -c constraints.txt ".[metrics,models]"
USER shop
CMD ["celery", "-A", "demo_project", "worker", "-P", "solo", "-c", "1", "-Q", "shopsearch-index,shopsearch-rerank"]
