"""Languages: every sentence of the widget, the page, the admin and the demo is there in Spanish too."""

import ast
import gettext
import re
import shutil
import subprocess
import sys

import pytest

from shopsearch import exceptions
from tests import ROOT

TOOLS = ["xgettext", "msgen", "msgfmt"]


def catalogue(folder):
    """What is translated, by message, as Django reads it."""
    with (folder / "locale/es/LC_MESSAGES/django.mo").open("rb") as file:
        return _messages(file)


def _messages(file):
    """Each message and each of its plurals."""
    kept = gettext.GNUTranslations(file)._catalog
    return {key if isinstance(key, str) else f"{key[0]}[{key[1]}]": text for key, text in kept.items() if key}


def written(folder, copy):
    """The messages in the sources and templates of this folder."""
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("locale", "static", "__pycache__"))
    (copy / "locale").mkdir()
    program = "from django.core.management import execute_from_command_line as run; run()"
    command = [
        sys.executable,
        "-c",
        program,
        "makemessages",
        "--locale",
        "es",
        "--keep-pot",
        "--verbosity",
        "0",
    ]
    subprocess.run(command, cwd=copy, check=True, env={"PATH": "/usr/bin:/bin", "PYTHONSAFEPATH": "1"})
    template = copy / "locale/django.pot"
    template.write_text(template.read_text().replace("=INTEGER", "=2").replace("=EXPRESSION", "=(n != 1)"))
    subprocess.run(["msgen", "locale/django.pot", "-o", "all.po"], cwd=copy, check=True)
    subprocess.run(["msgfmt", "all.po", "-o", "all.mo"], cwd=copy, check=True, stderr=subprocess.DEVNULL)
    with (copy / "all.mo").open("rb") as file:
        return _messages(file)


@pytest.mark.parametrize("folder", ["shopsearch", "demo_project/catalog"])
def test_every_sentence_is_there_in_spanish(folder, tmp_path):
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        pytest.skip(f"gettext is not installed: {', '.join(missing)}")
    wanted, there = written(ROOT / folder, tmp_path / "copy"), catalogue(ROOT / folder)
    assert len(wanted) > 50
    assert sorted(wanted.keys() - there.keys()) == []
    assert sorted(there.keys() - wanted.keys()) == [], "nobody says this any more"
    assert [message for message, text in there.items() if not text] == []


@pytest.mark.parametrize("folder", ["shopsearch", "demo_project/catalog"])
def test_what_is_compiled_is_what_is_written(folder, tmp_path):
    if not shutil.which("msgfmt"):
        pytest.skip("gettext is not installed: msgfmt")
    source = ROOT / folder / "locale/es/LC_MESSAGES/django.po"
    assert "#, fuzzy" not in source.read_text()
    subprocess.run(["msgfmt", str(source), "-o", str(tmp_path / "es.mo")], check=True)
    with (tmp_path / "es.mo").open("rb") as file:
        assert _messages(file) == catalogue(ROOT / folder)


REFUSALS = {
    name
    for name, each in vars(exceptions).items()
    if isinstance(each, type) and issubclass(each, exceptions.QueryError)
}


def untranslated(node):
    """The sentences in this piece of code that are in no call of gettext."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("_", "gettext", "gettext_noop")
    ):
        return []
    if isinstance(node, ast.Constant):
        is_sentence = isinstance(node.value, str) and re.search(r"\w \w", node.value)
        return [node.value] if is_sentence else []
    return [each for child in ast.iter_child_nodes(node) for each in untranslated(child)]


def test_no_refusal_of_a_search_stays_in_english():
    found = []
    for path in sorted((ROOT / "shopsearch").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REFUSALS:
                found += [f"{path.name}: {each}" for given in node.args for each in untranslated(given)]
    assert found == []
    for name in REFUSALS:
        assert getattr(exceptions, name).default in catalogue(ROOT / "shopsearch")


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("shopsearch/static/shopsearch/*.css"), *ROOT.glob("demo_project/**/*.css")]),
    ids=lambda path: path.name,
)
def test_styles_name_no_side_so_that_they_serve_both_directions(path):
    sided = ("margin-left", "margin-right", "padding-left", "padding-right", "border-left", "border-right")
    found = [
        line
        for line in path.read_text().splitlines()
        if any(
            f"{each}:" in line.replace(" ", "")
            for each in (*sided, "text-align:left", "text-align:right", "float:left", "float:right")
        )
        or any(part.strip().startswith(("left:", "right:")) for part in line.replace("{", ";").split(";"))
    ]
    assert found == []
