"""What the docs show is true."""

import re
import textwrap

import pytest
from django.core.management import get_commands
from django.urls import reverse

from shopsearch.conf import DEFAULTS
from tests import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", PAGES, ids=lambda document: document.name)
def test_every_link_within_the_repository_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        aim = (document.parent / path) if path else document
        assert aim.exists(), f"{document.name} links to {target}"
        if anchor:
            assert anchor in anchors(aim), f"{document.name} links to {target}"


def test_every_page_is_in_the_sites_contents():
    contents = (ROOT / "docs" / "index.md").read_text()
    listed = re.findall(
        r"^[\w-]+$", "".join(re.findall(r"```{toctree}\n(.*?)```", contents, re.DOTALL)), re.M
    )
    assert sorted(listed) == sorted(page.stem for page in PAGES[2:] if page.stem != "index")


def test_the_readme_leads_to_every_page_and_the_how_to_lists_every_section():
    linked = set(re.findall(r"\]\(docs/([\w-]+)\.md", (ROOT / "README.md").read_text()))
    assert {page.stem for page in PAGES[2:]} - linked == {"index", "contributing"}
    how_to = (ROOT / "docs" / "how-to.md").read_text()
    assert re.findall(r"^- \[(.+)\]\(#", how_to, re.M) == re.findall(r"^## (.+)$", how_to, re.M)


@pytest.mark.parametrize("document", PAGES, ids=lambda document: document.name)
def test_python_in_the_docs_is_python(document):
    for block in re.findall(r"```python\n(.*?) *```", document.read_text(), re.DOTALL):
        compile(textwrap.dedent(block), document.name, "exec")


@pytest.mark.parametrize("document", PAGES, ids=lambda document: document.name)
def test_every_command_that_the_docs_name_exists(document):
    demos = {path.stem for path in (ROOT / "demo_project/catalog/management/commands").glob("*.py")}
    for command in set(re.findall(r"manage\.py ([a-z_]+)", document.read_text())):
        assert command in {*get_commands(), *demos}, f"{document.name} names {command}"


@pytest.mark.parametrize("document", PAGES, ids=lambda document: document.name)
def test_every_make_target_that_the_docs_name_exists(document):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|\$ )make ([a-z-]+)", document.read_text())) <= targets


def test_the_settings_reference_lists_every_key_once():
    keys = re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/reference-settings.md").read_text(), re.MULTILINE)
    named = [key for key in keys if not key.startswith("SHOPSEARCH_")]
    assert sorted(named) == sorted(DEFAULTS)


def test_the_addresses_are_those_that_the_docs_give():
    assert reverse("shopsearch:search") == "/search/"
    assert reverse("shopsearch:api-search") == "/api/search/"
