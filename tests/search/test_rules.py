"""Rules of the house: which ones a search fires, and what they do to its results."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shopsearch.backends import get_embedder
from shopsearch.evaluation.searchers import LiveSearch
from shopsearch.filters import AnyOf
from shopsearch.models import Change, ProductImage, Rule, RuleAction, RulePicture, RuleVector
from shopsearch.models.rules import look_space
from shopsearch.registry import index_for
from shopsearch.rerankers import Reranker
from shopsearch.search import engine, kept, reranking, rules
from shopsearch.search.engine import answer, search, similar
from shopsearch.search.examples import Example, of_picture
from shopsearch.search.request import SearchRequest
from shopsearch.search.rules import Action, Asked, Effect, apply, effect_of
from shopsearch.types import Query, RerankerOutput
from tests.shop.models import Category, Product
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.store import index_everything

INDEX = index_for(ProductImage)


def state_of(row):
    return rules.states_of([row])[row.pk]


# Which rules fire


def fires(asked, **rule):
    if isinstance(asked, str):
        asked = Asked(texts=(asked,), language="en")
    return rules.fires(rules.Rule(name="rule", **rule), asked)


@pytest.mark.parametrize(
    ("trigger", "words", "text", "does"),
    [
        ("contains", ["mug"], "Red Mugs", True),
        ("contains", ["red mug"], "a mug that is red", True),
        ("contains", ["red mug"], "mug", False),
        ("contains", ["cup", "mug"], "blue mug", True),
        ("exact", ["red mug"], "red mugs", True),
        ("exact", ["red mug"], "large red mug", False),
        ("exact", ["teléfono"], "TELEFONO", True),
        ("contains", ["mug"], "", False),
        ("any", [], "whatever", True),
        ("any", [], "", True),
    ],
)
def test_words_fire_a_rule_whatever_their_endings_capitals_accents_and_order(trigger, words, text, does):
    assert fires(text, trigger=trigger, words=tuple(words)) is does


def test_a_rule_fires_for_what_was_typed_and_for_what_was_meant():
    asked = Asked(texts=("rde mug", "red mug"), language="en")
    assert fires(asked, trigger="exact", words=("rde mug",))
    assert fires(asked, trigger="exact", words=("red mug",))


def test_a_rule_may_hold_for_one_language_and_for_a_span_of_time():
    assert fires(Asked(language="es-mx"), language="es")
    assert not fires(Asked(language="en"), language="es")
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    hour = timedelta(hours=1)
    assert fires(Asked(now=noon), valid_from=noon, valid_until=noon + hour)
    assert not fires(Asked(now=noon), valid_from=noon + hour)
    assert not fires(Asked(now=noon), valid_until=noon)


def test_a_rule_may_hold_for_chosen_filters():
    chosen = (AnyOf("category", ("mugs", "plates")),)
    assert fires(Asked(condition=AnyOf("category", ("mugs",))), filters=chosen)
    assert not fires(Asked(condition=AnyOf("category", ("vases",))), filters=chosen)
    assert not fires(Asked(), filters=chosen)


def test_a_rule_by_looks_fires_in_its_own_space_alone_and_needs_vectors_and_a_threshold():
    [look] = get_embedder().embed([Query(image=Image.new("RGB", (16, 16), RED))])
    asked = Asked(look=look, space="one")
    rule = {"trigger": "looks", "look": look, "space": "one", "threshold": 0.9}
    assert fires(asked, **rule)
    assert not fires(asked, **rule | {"look": -look})
    assert not fires(asked, **rule | {"space": "other"})
    assert not fires(asked, **rule | {"threshold": None})
    assert not fires(asked, **rule | {"look": None})
    assert not fires(Asked(texts=("red",), space="one"), **rule)


# What they do, without a search


def order(keys, effect, *, pinned="", is_whole=True):
    return "".join(apply(dict.fromkeys(keys), effect, dict.fromkeys(pinned), is_whole=is_whole))


def effect(*actions, name="rule"):
    return effect_of([rules.Rule(name=name, actions=tuple(Action(**each) for each in actions))])


def test_a_pinned_product_stands_at_its_place_and_the_next_ones_follow():
    pins = effect({"kind": "pin", "products": ("x", "d"), "place": 2})
    assert order("abcd", pins, pinned="xd") == "axdbc"
    assert order("abcd", pins, pinned="d") == "adbc"
    assert order("abcd", pins) == "abcd"


def test_a_pin_beyond_the_end_is_last():
    assert order("ab", effect({"kind": "pin", "products": ("x",), "place": 9}), pinned="x") == "abx"


def test_a_boosted_product_moves_up_and_a_buried_one_to_the_end():
    assert order("abcde", effect({"kind": "boost", "products": ("d",), "place": 2})) == "adbce"
    assert order("abcde", effect({"kind": "boost", "products": ("b", "e")})) == "beacd"
    assert order("abcde", effect({"kind": "bury", "products": ("b",)})) == "acdeb"
    assert order("abcde", effect({"kind": "bury", "products": ("b",)}), is_whole=False) == "acde"


def test_what_is_hidden_is_gone_and_what_is_unknown_changes_nothing():
    assert order("abc", effect({"kind": "hide", "products": ("b", "z")})) == "ac"
    assert (
        order("abc", effect({"kind": "boost", "products": ("z",)}, {"kind": "bury", "products": ("z",)}))
        == "abc"
    )


def test_an_action_that_this_version_does_not_know_does_nothing():
    assert order("ab", effect({"kind": "of a newer version", "products": ("a",)})) == "ab"


def test_of_two_rules_that_disagree_the_first_one_counts():
    hide = rules.Rule(name="hide", actions=(Action(kind="hide", products=("a",)),))
    pin = rules.Rule(name="pin", actions=(Action(kind="pin", products=("a", "b"), place=1),))
    assert order("cab", effect_of([hide, pin]), pinned="b") == "bc"
    assert order("cab", effect_of([pin, hide]), pinned="ab") == "abc"
    other = rules.Rule(name="other", actions=(Action(kind="pin", products=("c",), place=1),))
    assert order("xcab", effect_of([pin, other]), pinned="abc") == "abcx"
    assert order("xcab", effect_of([other, pin]), pinned="abc") == "cabx"


def test_what_has_a_value_is_moved_and_what_is_said_of_a_single_product_counts_first():
    does = effect(
        {"kind": "boost", "value": AnyOf("brand", ("kerb",)), "place": 2},
        {"kind": "bury", "value": AnyOf("in_stock", (False,))},
        {"kind": "boost", "products": ("e",), "place": 3},
    )
    values = {
        key: {"brand": "kerb" if key in "cde" else "other", "in_stock": key not in "ae"} for key in "abcdef"
    }
    assert order("abcdef", does.over(values)) == "cdebfa"
    assert order("abcdef", does) == "aebcdf", "their values are not known yet"


KEYS = st.lists(st.integers(0, 30), unique=True, max_size=25)
EFFECTS = st.builds(
    lambda chosen, kinds, places: effect_of(
        [
            rules.Rule(
                name="rule",
                actions=tuple(
                    Action(kind=kind, products=(key,), place=place)
                    for key, kind, place in zip(chosen, kinds, places, strict=False)
                ),
            )
        ]
    ),
    st.lists(st.integers(0, 40), unique=True, max_size=8),
    st.lists(st.sampled_from(["pin", "boost", "bury", "hide"]), min_size=8, max_size=8),
    st.lists(st.integers(1, 40), min_size=8, max_size=8),
)


@given(KEYS, EFFECTS, st.integers(0, 40))
def test_every_beginning_of_an_order_begins_as_the_whole_does_and_nothing_is_repeated_or_lost(
    keys, does, wanted
):
    ranked, pinned = dict.fromkeys(keys), dict.fromkeys(does.pins)
    whole = list(apply(ranked, does, pinned, is_whole=True))
    assert sorted(whole) == sorted((set(keys) - does.hidden) | set(does.pins))
    shown = [key for key in keys if key not in does.hidden]
    sought = wanted + does.reach
    part = apply(dict.fromkeys(shown[:sought]), does, pinned, is_whole=len(shown) < sought)
    assert list(part)[:wanted] == whole[:wanted]


@given(KEYS)
def test_without_an_effect_nothing_changes(keys):
    ranked = {key: object() for key in keys}
    assert apply(ranked, Effect(), {}, is_whole=True) == ranked


# In searches


@pytest.fixture
def shop(db, settings):
    """By title. Mugs by how red they are, a blue plate, and a hidden product."""
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "RERANKER": None}
    mugs = Category.objects.create(name="mugs")
    made = {
        shade: product((220, 30 + 12 * shade, 30), title=f"shade {shade}", category=mugs, price=shade)
        for shade in range(8)
    }
    made["plate"] = product(BLUE, title="plate", price=30)
    made["secret"] = product(GREEN, title="secret", published=False)
    index_everything()
    for place, result in enumerate(search("red", filters={"category": "mugs"}).results):
        Product.objects.filter(pk=result.product.pk).update(title=f"mug {place}", price=place)
    return {each.title: each for each in Product.objects.filter(pk__in=[each.pk for each in made.values()])}


def rule(*actions, **fields):
    made = Rule.objects.create(
        **{"name": f"rule {Rule.objects.count()}", "index": INDEX.name, "trigger": "any"} | fields
    )
    for each in actions:
        RuleAction.objects.create(rule=made, **each)
    rules.forget()
    return made


def on(kind, *products, **fields):
    return {"kind": kind, "products": ", ".join(str(each.pk) for each in products), **fields}


def titles(answered):
    return [result.product.title for result in answered.results]


def test_a_pin_shows_a_product_that_was_not_found_and_the_answer_names_the_rule(shop):
    rule(on("pin", shop["plate"], place=2), name="Plates too", trigger="exact", words="red mug")
    found = search("red mugs", limit=3)
    assert titles(found) == ["mug 0", "plate", "mug 1"]
    assert [result.rule for result in found.results] == ["", "Plates too", ""]
    assert [each.name for each in found.rules] == ["Plates too"]
    assert found.results[1].score == pytest.approx(
        next(each.score for each in search("red", limit=9).results if each.product.title == "plate"), abs=0.5
    )
    assert titles(search("red", limit=3)) == ["mug 0", "mug 1", "mug 2"]


def test_a_pin_never_shows_what_the_shop_hides_nor_what_a_chosen_filter_leaves_out(shop):
    rule(on("pin", shop["secret"], shop["plate"]))
    assert titles(search("red", limit=2)) == ["plate", "mug 0"]
    assert titles(search("red", limit=2, filters={"category": "mugs"})) == ["mug 0", "mug 1"]
    assert titles(search("red", limit=2, filters={"price__gte": 30})) == ["plate"]
    ProductImage.objects.filter(product=shop["plate"]).delete()
    assert titles(search("red", limit=2)) == ["mug 0", "mug 1"]


def test_where_everything_is_hidden_the_answer_is_empty_and_no_match(shop):
    rule(on("hide", *shop.values()))
    found = search("red")
    assert (found.results, found.match, found.has_next) == ((), "unknown", False)


def test_hidden_and_pinned_products_are_counted_as_they_are_shown(shop):
    rule(on("hide", shop["mug 0"]), on("pin", shop["plate"]))
    with patch("shopsearch.search.calibration.weak_below", return_value=0.9):
        counted = answer(SearchRequest(text="red", facets=["category"], rules=()))
        found = answer(SearchRequest(text="red", facets=["category"]))
    assert "plate" not in titles(counted)
    assert found.number.value == counted.number.value
    [mugs] = found.facets[0].values
    assert mugs.count == counted.facets[0].values[0].count - 1


@pytest.mark.parametrize("weight", [1, -1])
def test_a_pinned_example_is_not_among_the_results_and_is_not_counted(shop, weight):
    rule(on("pin", shop["plate"]))
    with patch("shopsearch.search.calibration.weak_below", return_value=-1.0):
        found = answer(
            SearchRequest(
                text="red", examples=[Example(product=shop["plate"].pk, weight=weight)], facets=[], limit=48
            )
        )
    assert "plate" not in titles(found)
    assert found.number.value == len(found.results)


def test_an_order_that_the_shopper_chose_stays_and_hidden_products_stay_hidden(shop):
    rule(on("pin", shop["plate"]), on("hide", shop["mug 7"]))
    assert titles(search("red", sort="-price", limit=3)) == ["plate", "mug 6", "mug 5"]


def test_pages_are_parts_of_one_order_with_rules_on(shop):
    @settings(max_examples=40)
    @given(EFFECTS, st.integers(1, 9))
    def check(does, size):
        keys = [each.pk for each in shop.values()]
        named = {place: keys[place] for place in range(len(keys))}
        made = [
            Action(kind=kind, products=(named[place],), place=number)
            for kind, places in (
                ("pin", does.pins),
                ("boost", does.boosts),
                ("bury", dict.fromkeys(does.buried)),
                ("hide", dict.fromkeys(does.hidden)),
            )
            for place, number in places.items()
            if place in named
        ]
        tried = [rules.Rule(name="rule", actions=tuple(made))]
        whole = titles(answer(SearchRequest(text="red", limit=100, rules=tried)))
        seen, has_next = [], True
        while has_next:
            page = answer(SearchRequest(text="red", limit=size, offset=len(seen), rules=tried))
            seen += titles(page)
            has_next = page.has_next
        assert seen == whole
        hidden = {named[place] for place in does.hidden if place in named}
        shown = [each.title for each in shop.values() if each.published and each.pk not in hidden]
        assert sorted(whole) == sorted(shown)

    check()


@pytest.mark.parametrize("kind", ["boost", "bury"])
@pytest.mark.parametrize("size", [1, 3])
def test_pages_are_parts_of_one_order_where_a_rule_moves_all_that_have_a_value(shop, kind, size):
    Product.objects.filter(title__in=("mug 0", "mug 1", "mug 2", "mug 5")).update(in_stock=False)
    rule({"kind": kind, "value": "in_stock=no", "place": 4}, on("pin", shop["plate"], place=2))
    whole = titles(search("red", limit=100))
    unmoved = ["mug 3", "mug 4", "mug 6", "mug 7"]
    if kind == "bury":
        assert whole == ["mug 3", "plate", *unmoved[1:], "mug 0", "mug 1", "mug 2", "mug 5"]
    else:
        assert whole == ["mug 0", "plate", "mug 1", "mug 2", "mug 5", *unmoved]
    seen = [
        title for offset in range(0, 9, size) for title in titles(search("red", limit=size, offset=offset))
    ]
    assert seen == whole


def test_a_search_that_no_rule_concerns_answers_bit_by_bit_as_without_rules(shop):
    rule(on("pin", shop["plate"]), on("hide", shop["mug 0"]), trigger="contains", words="sale")
    for asked in (
        {"text": "red"},
        {"examples": of_picture(Image.new("RGB", (8, 8), RED))},
        {"text": "blue", "sort": "price"},
    ):
        with_rules = answer(SearchRequest(**asked, facets=["*"], limit=3, offset=1))
        without = answer(SearchRequest(**asked, facets=["*"], limit=3, offset=1, rules=()))
        for name in (
            "results",
            "facets",
            "number",
            "match",
            "has_next",
            "weak_below",
            "rules",
            "banner",
            "redirect",
        ):
            assert getattr(with_rules, name) == getattr(without, name)


def test_without_rules_a_search_asks_nothing_more_and_the_table_is_read_once_in_a_while(shop):
    def queries(**options):
        with CaptureQueriesContext(
            connection,
        ) as captured:
            answer(SearchRequest(text="red", **options))
        return len(captured)

    queries()
    assert queries() == queries(rules=())
    rules.forget()
    assert queries() == queries(rules=()) + 1


def test_rules_are_made_anew_where_anything_of_them_has_changed_and_only_there(shop, monkeypatch):
    monkeypatch.setattr(rules, "KEPT_SECONDS", 0)
    made = rule(on("pin", shop["plate"]), trigger="looks")
    space = get_embedder().space

    def changes():
        before, now = seen[-1], rules.in_force(INDEX, space)
        seen.append(now)
        return before is not now

    seen = [rules.in_force(INDEX, space)]
    assert not changes()
    RuleAction.objects.update(place=2)
    assert changes()
    shown = RulePicture.objects.create(rule=made, image=picture(RED, "rule.png"))
    assert changes()
    RuleVector.objects.create(
        picture=shown, space=look_space(space), file=shown.image.name, numbers=bytes(96 * 4)
    )
    assert changes()
    assert seen[-1][0].look is not None
    Rule.objects.update(threshold=0.5, threshold_space=look_space(space))
    assert changes()
    assert not changes()
    Rule.objects.all().delete()
    assert changes()
    assert seen[-1] == ()


def test_of_several_rules_those_that_changed_are_made_anew(shop, monkeypatch):
    monkeypatch.setattr(rules, "KEPT_SECONDS", 0)
    changed, *others = [rule(on("pin", shop["plate"]), words=words) for words in ("one", "two", "three")]
    space = get_embedder().space
    before = rules.in_force(INDEX, space)
    RuleAction.objects.filter(rule=changed).update(place=7)
    now = rules.in_force(INDEX, space)
    assert [each.actions[0].place for each in now if each not in before] == [7]
    assert sum(any(each is other for other in before) for each in now) == len(others) == 2


def test_a_rule_is_in_force_a_few_seconds_after_it_is_saved(shop):
    search("red")
    made = Rule.objects.create(name="late", index=INDEX.name, trigger="any")
    RuleAction.objects.create(rule=made, **on("pin", shop["plate"]))
    later = time.monotonic() + rules.KEPT_SECONDS + 0.1
    with patch.object(kept.time, "monotonic", return_value=later):
        assert titles(search("red"))[0] == "plate"
    assert rules.KEPT_SECONDS < 5


def test_products_like_another_are_no_search_and_an_evaluation_knows_no_rules(shop):
    rule(on("pin", shop["plate"]))
    assert titles(similar(shop["mug 0"]))[0] != "plate"
    assert LiveSearch(index=INDEX).find(Query(text="red"))[0] == str(shop["mug 0"].pk)
    assert titles(search("red"))[0] == "plate"


def test_a_rule_by_looks_fires_for_pictures_alone_and_beside_words(shop):
    made = rule(on("pin", shop["plate"]), trigger="looks", threshold=0.95)
    shown = RulePicture.objects.create(rule=made, image=picture(RED, "rule.png"))
    red = Image.new("RGB", (8, 8), RED)
    rules.forget()
    assert titles(search(image=red))[0] != "plate"  # it has no vectors yet
    space = look_space(get_embedder().space)
    [vector] = get_embedder().embed([Query(image=red)])
    RuleVector.objects.create(picture=shown, space=space, file=shown.image.name, numbers=vector.tobytes())
    Rule.objects.update(threshold_space=space)
    rules.forget()
    assert titles(search(image=red))[0] == "plate"
    assert titles(search("blue", red))[0] == "plate"
    assert search(image=Image.new("RGB", (8, 8), GREEN)).rules == ()
    assert titles(search("red"))[0] == "mug 0"
    like = answer(
        SearchRequest(examples=[Example(image_id=ProductImage.objects.get(product=shop["mug 0"]).pk)])
    )
    assert titles(like)[0] == "plate"


def test_a_rule_by_looks_means_the_picture_whatever_words_are_excluded(shop, monkeypatch):
    looks = []
    monkeypatch.setattr(rules, "match", lambda known, asked: looks.append(asked.look) or ())
    by_looks = rules.Rule(name="reds", trigger="looks", look=[], threshold=0.5)
    asked = engine.understood(
        SearchRequest(examples=[Example(image=Image.new("RGB", (8, 8), RED))], rules=[by_looks])
    )
    for excluded in ((), ("green",)):
        engine.retrieve(replace(asked, words=replace(asked.words, excluded=excluded)))
    assert looks[0] == pytest.approx(looks[1])


def test_only_where_a_rule_by_looks_is_in_force_the_middle_of_a_picture_is_embedded_too(shop):
    space = look_space(get_embedder().space)
    made = rule(on("pin", shop["plate"]), trigger="looks", threshold_space=space)
    shown = RulePicture.objects.create(rule=made, image=picture(RED, "rule.png"))
    RuleVector.objects.create(picture=shown, space=space, file=shown.image.name, numbers=bytes(96 * 4))
    for threshold, shade, embedded in ((None, 41, 1), (0.95, 42, 2)):
        Rule.objects.update(threshold=threshold)
        rules.forget()
        framed = Image.new("RGB", (10, 10), GREEN)
        framed.paste((shade, 0, 0), (2, 2, 8, 8))
        get_embedder().embedded = 0
        search(image=framed)
        assert get_embedder().embedded == embedded


# A banner, and an address


def test_a_rule_answers_with_a_banner_and_with_an_address(shop, settings, client):
    rule(
        {"kind": "banner", "text": "20 % off", "address": "/sale/"},
        {"kind": "redirect", "address": "/reds/"},
        name="Sale",
    )
    found = client.get("/api/search/?q=red").json()
    assert found["rules"] == [{"name": "Sale", "actions": ["banner", "redirect"]}]
    assert found["banner"] == {"text": "20 % off", "address": "/sale/"}
    assert found["redirect"] == "/reds/"


@pytest.mark.parametrize(
    "address",
    [
        "https://elsewhere.example/",
        "//elsewhere.example/",
        "/\\elsewhere.example",
        "javascript:alert(1)",
        "ftp://a.example/",
        "sale",
        "",
    ],
)
def test_no_rule_leads_to_another_site_that_is_not_allowed_even_if_the_database_says_so(shop, address):
    rule({"kind": "redirect", "address": address}, {"kind": "banner", "text": "20 % off", "address": address})
    found = search("red")
    assert (found.redirect, found.banner.address) == ("", "")
    assert found.banner.text == "20 % off"


def test_a_rule_leads_to_a_host_that_the_setting_allows(shop, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "RULE_HOSTS": ["outlet.example"]}
    index_everything()
    made = rules.Rule(name="rule", actions=(Action(kind="redirect", address="https://outlet.example/sale"),))
    assert rules.redirect_of([made]) == "https://outlet.example/sale"


# After a rerank


class Backwards(Reranker):
    """Would have the last one first."""

    model = "backwards"
    seen = ()

    def rerank(self, query, candidates):
        type(self).seen = [each.product_id for each in candidates]
        return RerankerOutput(scores=list(range(len(candidates))), reason="It is the last one.")


def test_what_a_rule_has_placed_keeps_its_place_in_the_better_order(shop, settings):
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "RERANKER": {"BACKEND": f"{__name__}.Backwards"},
        "RERANK_WEIGHT": 1,
        "RERANK_LIFT": 20,
    }
    Change.objects.note_all(INDEX)
    index_everything()
    rule(on("pin", shop["plate"], place=1), on("boost", shop["mug 5"], place=2))
    found = search("red", limit=7)
    assert titles(found) == ["plate", "mug 0", "mug 1", "mug 2", "mug 5", "mug 3", "mug 4"]
    judged = reranking._judge(reranking._wanted(INDEX, found))
    output, better = judged.output, judged.order
    assert [titles(found)[place] for place in better.positions] == [
        "plate",
        "mug 4",
        "mug 3",
        "mug 2",
        "mug 5",
        "mug 1",
        "mug 0",
    ]
    assert str(shop["plate"].pk) not in Backwards.seen
    assert output.reason == ""
    assert sorted(better.positions) == list(range(7))


# State


def test_a_rule_that_can_do_nothing_is_not_called_in_force(shop):
    assert state_of(rule(on("pin", shop["secret"]))) == Rule.State.WITHOUT_PRODUCTS
    gone = rule(on("boost", shop["mug 1"]), on("hide", shop["mug 2"]))
    assert state_of(gone) == Rule.State.IN_FORCE
    shop["mug 1"].delete(), shop["mug 2"].delete()
    assert state_of(gone) == Rule.State.WITHOUT_PRODUCTS
    assert state_of(rule({"kind": "bury", "value": "colour=red"})) == Rule.State.UNDECLARED
    banner = {"kind": "banner", "text": "Sale"}
    common = rule(banner, trigger="contains", words="the, of a")
    assert state_of(common) == Rule.State.WITHOUT_WORDS
    assert state_of(rule(banner, trigger="contains", words="the, mug")) == Rule.State.IN_FORCE
    assert state_of(rule(banner, trigger="contains", words="the", language="de")) == Rule.State.IN_FORCE
    assert state_of(rule(banner, trigger="exact", words="the the")) == Rule.State.IN_FORCE
    with pytest.raises(ValidationError, match="passes over"):
        common.full_clean()


@pytest.mark.parametrize(
    ("value", "another", "state"),
    [
        ("category=mugs", "category=jugs", "in force"),
        ("category=jugs", "category=cups", "without value"),
        ("price=3", "price=3.5", "in force"),
        ("price=1000", "price=2000", "without value"),
        ("in_stock=yes", "in_stock=no", "in force"),
        ("in_stock=no", "category=jugs", "without value"),
        ("tags=sale", "tags=new", "without value"),
    ],
)
def test_a_rule_by_values_that_no_product_has_says_so(shop, value, another, state):
    either = [{"kind": "bury", "value": value}, {"kind": "boost", "value": another}]
    assert state_of(rule(*either)) == state_of(rule(*reversed(either))) == state


def test_a_value_that_hidden_products_alone_have_is_had_by_none(shop):
    Product.objects.filter(title="secret").update(price=77)
    made = rule({"kind": "boost", "value": "price=77"})
    assert state_of(made) == "without value"
    Product.objects.filter(title="secret").update(published=True)
    assert state_of(made) == "in force"


def test_where_not_all_values_can_be_read_a_value_is_not_called_missing(shop, settings):
    made = rule({"kind": "boost", "value": "tags=sale"})
    assert state_of(made) == "without value"
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "FACET_LIMIT": 3}
    assert state_of(made) == "in force"


def test_many_rules_have_the_states_that_each_has_alone(shop):
    banner = {"kind": "banner", "text": "Sale"}
    mugs, jugs, tagged = (
        {"kind": "bury", "value": value} for value in ("category=mugs", "category=jugs", "tags=new")
    )
    made = [
        *(rule(each) for each in (mugs, jugs, tagged, banner, on("hide", shop["secret"]))),
        rule(jugs, mugs),
        rule(jugs, on("pin", shop["secret"], shop["plate"])),
        rule(mugs, is_on=False),
        rule(mugs, valid_until=timezone.now()),
        rule(mugs, index="gone"),
        rule(mugs, filters="colour=red"),
        rule({"kind": "boost", "value": "colour=red"}),
        rule(mugs, trigger="looks"),
        rule(),
    ]
    states = rules.states_of(made)
    assert states == {each.pk: state_of(each) for each in made}
    assert len(set(states.values())) >= 8


def test_a_rule_says_whether_it_is_in_force_and_if_not_why(shop):
    made = rule(on("pin", shop["plate"]))
    assert state_of(made) == "in force"
    now, day = timezone.now(), timedelta(days=1)
    for fields, state in [
        ({"is_on": False}, "off"),
        ({"valid_until": now - day}, "expired"),
        ({"valid_from": now + day}, "planned"),
        ({"trigger": "looks"}, "without pictures"),
    ]:
        before = {name: getattr(made, name) for name in fields}
        for name, value in fields.items():
            setattr(made, name, value)
        assert state_of(made) == state
        for name, value in before.items():
            setattr(made, name, value)
    made.trigger = "looks"
    shown = RulePicture.objects.create(rule=made, image=picture(RED, "rule.png"))
    assert state_of(made) == "without vectors"
    RuleVector.objects.create(
        picture=shown, space=look_space(get_embedder().space), file=shown.image.name, numbers=bytes(96 * 4)
    )
    assert state_of(made) == "without threshold"
    made.threshold, made.threshold_space = 0.8, look_space(get_embedder().space)
    assert state_of(made) == "in force"
    shown.image.name = "another.png"
    shown.save()
    assert state_of(made) == "without vectors"
    made.filters = "colour=red"
    assert state_of(made) == "undeclared"
    made.filters, made.index = "", "gone"
    assert state_of(made) == "undeclared"
    made.index = INDEX.name
    made.actions.all().delete()
    assert state_of(made) == "without actions"
