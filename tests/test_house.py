"""The house itself: layers, file sizes, and what starting Django may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "shopsearch"

LAYERS = [
    {"exceptions"},
    {"types", "conf", "logs", "metrics", "networks", "words"},
    {
        "admission",
        "columns",
        "descriptions",
        "downloads",
        "facets",
        "filters",
        "fusion",
        "image_process",
        "images",
        "keys",
        "querysets",
        "ranges",
        "registry",
        "relations",
        "sorting",
        "tallies",
        "throttling",
        "embedders",
        "vector_stores",
        "rerankers",
    },
    {"backends", "calibrations", "kept_vectors", "models"},
    {"changes", "outbox", "serving", "snapshots", "vectors", "wakeups"},
    {"targets"},
    {"batches"},
    {"indexing"},
    {"filling"},
    {"rebuilding", "reconciling", "reranking", "query_log"},
    {"tasks"},
    {"workers", "query_worker", "probes"},
    {"retrieval"},
    {"grouping"},
    {"search", "signals"},
    {"similar"},
    {"assertions", "calibrating", "evaluation", "judgements", "testing"},
    {"access", "refusals", "serializers", "checks", "admin", "management", "templatetags"},
    {"openapi", "receipts", "refinements", "queries"},
    {"views", "pages", "consent", "health", "exposition", "middleware"},
    {"products"},
    {"urls", "apps"},
]
LAYER_OF = {name: number for number, layer in enumerate(LAYERS) for name in layer}
PYTHON_FILES = sorted(
    path
    for folder in ("shopsearch", "demo_project", "training", "benchmarks", "tests")
    for path in (ROOT / folder).rglob("*.py")
)


def imports_of(path):
    """The modules of shopsearch that this one imports, by their first name; for type checkers included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            parts = node.module.split(".")
            if parts[0] == "shopsearch":
                yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("shopsearch.")
            )


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if name not in ("__init__", "migrations"):
            yield pytest.param(path, name, id=str(path.relative_to(PACKAGE)))


@pytest.mark.parametrize(("path", "name"), list(modules()))
def test_a_module_imports_only_from_its_own_layer_or_a_lower_one(path, name):
    assert name in LAYER_OF, f"give {name} a place in LAYERS"
    upward = {other for other in imports_of(path) if LAYER_OF.get(other, -1) > LAYER_OF[name]}
    assert not upward, f"{name} imports upward: {upward}"


def test_the_check_for_upward_imports_sees_one(tmp_path):
    module = tmp_path / "conf.py"
    module.write_text("from shopsearch.search import search\nimport shopsearch.views\n")
    assert set(imports_of(module)) == {"search", "views"}


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("settings", ["tests.settings", "demo_project.settings"])
def test_starting_django_loads_no_model_framework_and_no_milvus_client(settings):
    program = (
        "import sys, django; django.setup();"
        "from django.core.management import call_command; call_command('check', verbosity=0);"
        "import shopsearch.urls, shopsearch.search;"
        "heavy = {'torch', 'transformers', 'pymilvus', 'FlagEmbedding', 'milvus_lite'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": settings, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.django_db
def test_the_models_and_the_migrations_agree():
    from django.core.management import call_command

    call_command("makemigrations", "shopsearch", check=True, dry_run=True, verbosity=0)
