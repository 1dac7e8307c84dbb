"""Translated products: what is filtered by is in one language, what is read in the shopper's, and words are in each."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from tests import ROOT

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("modeltranslation", "parler"))),
    reason="django-modeltranslation and django-parler are not installed: requirements-dev.txt",
)


@pytest.fixture(scope="module")
def seen():
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.projects.translated.settings"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.projects.translated.day"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("language", ["en", "es"])
def test_each_facet_value_finds_its_product_whatever_language_saved_indexed_or_asks(seen, language):
    shown = seen[language]
    assert (shown["materials"], shown["glazes"]) == (["brass", "glass"], ["black", "white"])
    assert shown["found by each material"] == shown["found by each glaze"] == [1, 1]


def test_titles_and_labels_are_in_the_shoppers_language(seen):
    assert seen["en"]["titles"] == ["Bent arm", "Bowl", "Globe", "Jug"]
    assert seen["es"]["titles"] == ["Brazo curvo", "Cuenco", "Globo", "Jarra"]
    assert (seen["en"]["labels of kinds"], seen["es"]["labels of kinds"]) == (["Desk lamps"], ["Flexos"])
    assert (seen["en"]["labels of glazes"], seen["es"]["labels of glazes"]) == (
        ["black", "white"],
        ["negro", "blanco"],
    )


def test_words_of_each_language_find(seen):
    assert set(seen["by words"].values()) == {True}
