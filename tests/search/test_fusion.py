"""One order of products out of two, by rank."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from shopsearch.registry.analyzer import product_terms, query_terms
from shopsearch.search.retrieval import fused
from shopsearch.types import Hit

SHOP = {
    "1": product_terms(["red mug"], ["MUG-1"], "en"),
    "2": product_terms(["red mug with dots"], ["MUG-2"], "en"),
    "3": product_terms(["red plate"], ["PLATE-3"], "en"),
    "4": product_terms(["lamp"], ["LAMP-4"], "en"),
}


def hit(product, score, image="1", words=""):
    return Hit(id=f"{product}-{image}", image_id=image, product_id=product, score=score, words=words)


def near(*products):
    """Found by vectors, the nearest first."""
    return [hit(product, 1 - rank / 100) for rank, product in enumerate(products)]


def said(*products):
    """Found by words, the best first."""
    return [hit(product, 0.1, words=SHOP[product]) for product in products]


def order(by_vectors, by_words, query, weight=1.0):
    hits = fused(by_vectors, by_words, asked=query_terms(query, "en"), weight=weight)
    return list(dict.fromkeys(each.product_id for each in hits))


def test_what_both_orders_have_high_comes_first():
    assert order(near("4", "3", "2", "1"), said("1", "2"), "red mug") == ["1", "2", "4", "3"]


def test_what_is_called_so_is_first_however_far_its_picture_is():
    assert order(near("4", "3", "2"), said("1", "2"), "mug-1")[0] == "1"
    assert order(near("4", "3", "2"), said("2", "1"), "mug-1", weight=0.01)[0] == "1"


def test_a_product_that_has_few_of_the_words_gains_nearly_nothing():
    assert order(near("4", "3"), said("3"), "red lacquered wooden box") == ["4", "3"]
    assert order(near("4", "3"), said("3"), "red plate") == ["3", "4"]


def test_the_weight_says_how_much_the_words_count():
    vectors, words = near("4", "3", "2", "1"), said("1")
    assert order(vectors, words, "red mug", weight=0.01) == ["4", "3", "2", "1"]
    assert order(vectors, words, "red mug", weight=1)[0] == "1"


def test_many_images_of_a_product_are_one_rank():
    many = [hit("4", 0.99 - number / 1000, str(number)) for number in range(50)]
    assert order([*many, hit("3", 0.5), hit("2", 0.4)], said("2"), "red mug") == ["2", "4", "3"]


def test_the_score_stays_the_vectors_where_both_found_a_hit():
    [found] = fused([hit("1", 0.5)], said("1"), asked=query_terms("mug", "en"), weight=1)
    assert found.score == 0.5


@given(
    st.lists(st.tuples(st.sampled_from("1234"), st.sampled_from("abc")), unique=True),
    st.lists(st.tuples(st.sampled_from("1234"), st.sampled_from("abc")), unique=True),
    st.sampled_from(["red mug", "lamp-4", "dots", "giraffe"]),
)
def test_every_hit_comes_once_and_those_of_a_product_together(vectors, words, query):
    by_vectors = [hit(product, 0.9 - rank / 50, image) for rank, (product, image) in enumerate(vectors)]
    by_words = [hit(product, 0.2, image, SHOP[product]) for product, image in words]
    hits = fused(by_vectors, by_words, asked=query_terms(query, "en"), weight=1)
    assert sorted(each.id for each in hits) == sorted({each.id for each in (*by_vectors, *by_words)})
    products = [each.product_id for each in hits]
    assert sum(before != after for before, after in itertools.pairwise(products)) == max(
        0, len(set(products)) - 1
    )
    assert hits == fused(by_vectors, by_words, asked=query_terms(query, "en"), weight=1)


def test_of_two_that_gain_as_much_the_one_that_says_it_comes_before_the_one_that_looks_like_it():
    assert order(near("4"), said("1"), "red mug") == ["1", "4"]
