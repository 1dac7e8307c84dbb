"""Words and vectors together over the demo's own catalogue: what is asked for by name is first, nothing gets worse."""

from itertools import chain
from random import Random

import pytest

from shopsearch.backends import get_vector_store
from shopsearch.models import Collection, ProductImage
from shopsearch.registry import index_for
from shopsearch.registry.analyzer import product_terms
from shopsearch.search.retrieval import HitLists, hits, target
from shopsearch.types import CollectionSchema, Entity, Query

pytestmark = pytest.mark.nightly

IMAGES = index_for(ProductImage)
EXACT = 500
BRANDS = 60


@pytest.fixture
def first(catalogue, monkeypatch, settings):
    """The articles that come first, one per query."""
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    for name, value in {"words": ("title",), "identifiers": ("title",), "language": "en"}.items():
        monkeypatch.setattr(type(IMAGES), name, value)
    collection = Collection(index=IMAGES.name, name="catalogue", fields={IMAGES.words_field: "words"})
    store = get_vector_store()
    store.ensure_collection(
        "catalogue", CollectionSchema(dimension=catalogue.vectors.shape[1], fields=collection.fields)
    )
    store.upsert("catalogue", [entity_of(place, catalogue) for place in range(len(catalogue.articles))])

    def first(queries):
        found = []
        for query, vector in zip(queries, catalogue.embedder.embed(queries), strict=True):
            ranked = chain.from_iterable(hits(HitLists(target(IMAGES, collection, query, vector))))
            found.append(catalogue.articles[int(next(ranked).product_id)])
        return found

    return first


def entity_of(place, catalogue):
    article = catalogue.articles[place]
    names = [article.sku, article.title]
    return Entity(
        id=f"{place:032x}",
        image_id=str(place),
        product_id=str(place),
        vector=catalogue.vectors[place],
        fields={
            IMAGES.words_field: product_terms(
                [*names, article.description, article.brand], names, *IMAGES.words_languages
            )
        },
    )


def as_written(text, dice):
    accented = text.translate(str.maketrans("aeiou", "áéíóú"))
    return dice.choice(
        [text, text.lower(), text.upper(), accented, text.replace(" ", "  "), text.replace(",", "")]
    )


def test_of_500_exact_skus_and_full_titles_99_in_100_come_first(first, catalogue):
    dice = Random("exact")
    asked = [
        (dice.choice(["sku", "title"]), article)
        for article in Random("sold").sample(catalogue.articles, EXACT)
    ]
    found = first([Query(text=as_written(getattr(article, field), dice)) for field, article in asked])
    right = sum(
        getattr(one, field) == getattr(article, field)
        for one, (field, article) in zip(found, asked, strict=True)
    )
    print(f"{right} of {EXACT} exact SKUs and titles come first")
    assert right >= 0.99 * EXACT


def test_queries_by_words_find_no_less_than_by_vectors_alone(first, catalogue, asked_by_words):
    found = first([each.query for each in asked_by_words])
    right = sum(
        (one.category, one.pattern) == (each.category, each.pattern)
        for one, each in zip(found, asked_by_words, strict=True)
    )
    hybrid, alone = right / len(found), catalogue.recall_at_1(asked_by_words)
    print(f"R@1 by words: {alone:.4f} by vectors alone, {hybrid:.4f} by words too")
    assert hybrid >= alone - 1 / len(found), "one query more or less is chance"


def test_a_brand_that_no_picture_shows_is_found(first, catalogue):
    asked = Random("brands").sample(catalogue.articles, BRANDS)
    found = first([Query(text=f"{article.brand} {article.kind.thing}") for article in asked])
    right = sum(
        (one.brand, one.category) == (article.brand, article.category)
        for one, article in zip(found, asked, strict=True)
    )
    assert right >= 0.95 * BRANDS
