"""Row "start": what the app adds to starting a project: `python -m benchmarks.starting [--quick]`.

`manage.py check` and the first page of the same project, with shopsearch in INSTALLED_APPS and without: Django's
admin, sessions and messages, REST framework and Celery, which such a shop has anyway. Processor time of a process that
does nothing else, by turns.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import Any

from benchmarks.results import Row, interleaved, median, ratio, report

PROJECT = """
import sys
from django.conf import settings
DJANGO = ["admin", "auth", "contenttypes", "sessions", "messages", "staticfiles"]
APPS = [*(f"django.contrib.{{name}}" for name in DJANGO), "rest_framework", "drf_spectacular"]
settings.configure(
    INSTALLED_APPS=APPS + ({ours} if {with_shopsearch} else []), ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"],
    SECRET_KEY="x", STATIC_URL="static/", USE_TZ=True, CELERY_BROKER_URL="memory://",
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware"],
    TEMPLATES=[{{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {{
        "context_processors": ["django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth", "django.contrib.messages.context_processors.messages"]}}}}],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
    REST_FRAMEWORK={{"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}},
    SHOPSEARCH_PRODUCT_MODEL="shop.Product",
)
import celery, django, rest_framework.views
from django.http import HttpResponse
from django.urls import include, path
app = celery.Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
def home(request):
    return HttpResponse("home")
django.setup()
from django.contrib import admin
urlpatterns = [path("", home), path("admin/", admin.site.urls)]
if {with_shopsearch}:
    urlpatterns.append(path("", include("shopsearch.urls")))
"""
HIDDEN = {"DJANGO_SETTINGS_MODULE", "PYTHONDONTWRITEBYTECODE"}
"""Without bytecode every start would compile all modules anew, as no installed project does."""
DO = {
    "start": "",
    "check": "from django.core.management import call_command\ncall_command('check')\n",
    "first page": "from django.test import Client\nassert Client().get('/admin/login/').status_code == 200\n",
}


def measure(quick: bool) -> list[Row]:
    flows: dict[str, Any] = {}
    for what, program in DO.items():
        for name, with_shopsearch in (("without", False), ("with", True)):
            source = PROJECT.format(ours=["shopsearch", "tests.shop"], with_shopsearch=with_shopsearch)
            flows[f"{what}, {name}"] = _processor_time(source + program)
    flows["import shopsearch"] = _processor_time("import shopsearch")
    flows["import nothing"] = _processor_time("")
    taken = interleaved(5 if quick else 20, flows, warm_up=1)
    ratios = {what: ratio(taken[f"{what}, with"], taken[f"{what}, without"]) for what in DO}
    alone = median(taken["import shopsearch"]) - median(taken["import nothing"])
    told = "; ".join(f"{what} {each}" for what, each in ratios.items())
    return [
        Row(
            number="start",
            what="starting a project with the app against the same without",
            target="≤ 1.3 times for `check` and the first page; `import shopsearch` next to nothing",
            measured=f"{told}; `import shopsearch` {alone:.0f} ms",
            reached=all(each.value <= 1.3 for each in ratios.values()),
            unit="ms of processor time",
            samples=taken,
        )
    ]


def _processor_time(source: str) -> Any:
    def flow(number: int) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        program = [sys.executable, "-c", source]
        environment = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        subprocess.run(
            program, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return 1_000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    return flow


if __name__ == "__main__":
    report(measure)
