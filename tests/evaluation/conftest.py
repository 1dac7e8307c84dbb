"""A shop of three colours with judged queries, and the command that measures it."""

import json
from io import StringIO

import pytest
from celery import current_app
from django.core.management import call_command

from shopsearch import broker
from shopsearch.backends import get_vector_store
from shopsearch.management.commands import shopsearch_evaluate
from shopsearch.search import reranking
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.rerankers import LastFirst
from tests.shop.store import index_everything

COLOURS = {"red": RED, "green": GREEN, "blue": BLUE}


@pytest.fixture
def shop(db, monkeypatch):
    """A mug, a plate and a lamp of each of three colours, all indexed: ids by title."""
    monkeypatch.setattr(broker, "send", lambda: True)
    monkeypatch.setitem(current_app.conf, "broker_url", "memory://")
    get_vector_store().clear()
    made = {
        f"{name} {thing}": product(colour, title=f"{name} {thing}")
        for name, colour in COLOURS.items()
        for thing in ("mug", "plate", "lamp")
    }
    index_everything()
    yield {title: str(each.pk) for title, each in made.items()}
    get_vector_store().clear()


def of_colour(shop, name):
    return {product_id: 1 for title, product_id in shop.items() if title.startswith(name)}


@pytest.fixture
def queries(shop, tmp_path):
    """Four by words, of which one is judged wrongly, and three by pictures."""
    lines = [
        {"id": f"w-{name}", "text": name, "language": "en", "relevant": of_colour(shop, name)}
        for name in COLOURS
    ]
    lines.append({"id": "w-roja", "text": "roja", "language": "es", "relevant": of_colour(shop, "blue")})
    for name, colour in COLOURS.items():
        (tmp_path / f"{name}.png").write_bytes(picture(colour).read())
        lines.append({"id": f"p-{name}", "image": f"{name}.png", "relevant": of_colour(shop, name)})
    return write(tmp_path / "queries.jsonl", lines)


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def evaluate(*arguments, **options):
    """What it prints, and its exit code."""
    out, errors = StringIO(), StringIO()
    try:
        call_command(
            "shopsearch_evaluate", *map(str, arguments), stdout=out, stderr=errors, verbosity=0, **options
        )
    except SystemExit as end:
        return out.getvalue() + errors.getvalue(), end.code
    return out.getvalue(), 0


@pytest.fixture
def evaluated(queries, tmp_path):
    """The JSON of an evaluation with these arguments."""

    def run(*arguments):
        evaluate(queries, "--json", tmp_path / "report.json", *arguments)
        return json.loads((tmp_path / "report.json").read_text())

    return run


@pytest.fixture
def reranker(monkeypatch):
    """The last first, whatever SHOPSEARCH says."""
    for module in (reranking, shopsearch_evaluate):
        monkeypatch.setattr(module, "get_reranker", LastFirst)
