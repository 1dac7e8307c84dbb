"""What the docs show is true."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.urls import reverse

from shopsearch.conf import DEFAULTS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_repository_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path) if path else page
        assert aim.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(aim), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_docs_is_python(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        compile(block, page.name, "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_the_docs_name_exists(page):
    for command in set(re.findall(r"\b(shopsearch_[a-z_]+[a-z])\b(?=[ `\n])", page.read_text())):
        assert command in get_commands(), f"{page.name} names {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_the_docs_name_exists(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)\b(?=[` \n])", page.read_text())) - {"a"} <= targets


def test_the_settings_reference_lists_every_key_once():
    keys = re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/reference-settings.md").read_text(), re.MULTILINE)
    named = [key for key in keys if not key.startswith("SHOPSEARCH_")]
    assert sorted(named) == sorted(DEFAULTS)


def test_the_addresses_are_those_that_the_docs_give():
    assert reverse("shopsearch:search") == "/search/"
    assert reverse("shopsearch:api-search") == "/api/search/"
