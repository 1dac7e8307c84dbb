"""Typing errors, corrected by the words that the shop's own products have."""

from random import Random

import pytest
from django.utils import translation
from django.utils.translation import get_language

from shopsearch.indexing import vocabulary
from shopsearch.models import ProductImage, VocabularyWord
from shopsearch.registry import index_for
from shopsearch.search import spelling
from shopsearch.search.engine import search
from shopsearch.search.spelling import Spelling
from tests.shop.models import Product
from tests.shop.pictures import GREEN, product
from tests.shop.store import index_everything

IMAGES = index_for(ProductImage)
SPELLING = Spelling(
    words={
        "plimsolls": 9,
        "striped": 30,
        "stripes": 2,
        "mug": 40,
        "white": 50,
        "with": 90,
        "plátano": 3,
        "cotton": 5,
    },
    language="en",
)


@pytest.fixture(autouse=True)
def _read_anew():
    spelling.forget()


@pytest.fixture
def shoes(declare):
    declare()
    product(GREEN, title="White plimsolls")
    product(GREEN, title="Black boots")
    index_everything()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("plimsols", "plimsolls"),
        ("Plimsoles", "Plimsolls"),
        ("wihte mug", "white mug"),
        ("stripd mug", "striped mug"),
        ("mug, plimsolss", "mug, plimsolls"),
        ("platno", "plátano"),
        ("cottonmug", "cotton mug"),
    ],
)
def test_one_error_in_a_word_or_two_in_a_long_one_are_corrected(typed, meant):
    assert SPELLING.corrected(typed) == meant


RIGHT = "plimsolls|PLIMSOLL|mugs|platano|mgu|mug5|mug zeppelinxyz|plmsls|whale|sofa||+|taza blanca con rayas"


@pytest.mark.parametrize("typed", [*RIGHT.split("|"), "wihte stripd", "MUG-WHITX1"])
def test_a_word_that_the_shop_has_is_not_corrected_nor_is_one_of_the_language_nor_one_that_is_too_far(typed):
    assert SPELLING.corrected(typed) == ""


TITLES = ("beard trimmer 7000", "shadow black snowboard", "show boots", "tartan tote bag pink", "blue mug")
IN_TITLES = Spelling(
    words={
        word: 9 - place
        for place, title in enumerate(TITLES[::-1])
        for word in title.split()
        if word.isalpha()
    },
    language="en",
    stand_together=lambda word, others: any({word, *others} <= set(title.split()) for title in TITLES),
)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("bead trimmer 7000", "beard trimmer 7000"),  # a word of the language, which the shop lacks
        ("Shdow black snowboard", "Shadow black snowboard"),  # "show" is as near, and more frequent
        ("shdow boots", "show boots"),
        ("tartan toe bag, pink", "tartan tote bag, pink"),
        ("tartan tote bag pnk", "tartan tote bag pink"),
        ("tratan toet bag", "tartan tote bag"),  # more errors than right words, which a title says together
        ("tratan mgu bleu", ""),  # no title says them together
        ("bead trimmer", ""),  # one other word is too little
        ("buy a tartan toe bag", ""),  # it says something else that no title says
        ("bead", ""),
        ("toe mug blue", ""),
    ],
)
def test_an_error_is_corrected_to_what_a_title_says_beside_the_other_words(typed, meant):
    assert IN_TITLES.corrected(typed) == meant


@pytest.mark.django_db
def test_titles_are_asked_whatever_the_words_endings(declare):
    declare()
    product(GREEN, title="Tartan tote bag, pink")
    index_everything()
    assert spelling.spelling_of(IMAGES, "en").corrected("tartan toe bags") == "tartan tote bags"


@pytest.mark.django_db
@pytest.mark.usefixtures("shoes")
def test_the_answer_says_what_was_searched_for_and_takes_it_back(client):
    found = client.get("/api/search/", {"q": "plimsols"}).json()
    assert (found["corrected"], found["results"][0]["product"]["title"]) == ("plimsolls", "White plimsolls")
    found = client.get("/api/search/", {"q": "plimsols", "correct": "false"}).json()
    assert (found["corrected"], found["query"]["text"]) == (None, "plimsols")
    assert client.get("/api/search/", {"q": "plimsols", "correct": "perhaps"}).status_code == 400
    page = client.get("/search/", {"q": "plimsols"}).content.decode()
    assert "Showing results for <strong>plimsolls</strong>." in page
    assert 'href="/search/?q=plimsols&amp;correct=false"' in page
    assert (
        "Showing results"
        not in client.get("/search/", {"q": "plimsols", "correct": "false"}).content.decode()
    )


@pytest.mark.django_db
@pytest.mark.usefixtures("shoes")
def test_the_vocabulary_follows_the_shop_and_is_counted_anew():
    assert search("plimsols").corrected
    product(GREEN, title="Plimsols")
    index_everything()
    spelling.forget()
    found = search("plimsols")
    assert (found.corrected, found.results[0].product.title) == ("", "Plimsols")
    Product.objects.filter(title="Plimsols").delete()
    assert vocabulary.recount(IMAGES) == VocabularyWord.objects.of(IMAGES).count() == 4
    assert dict(VocabularyWord.objects.of(IMAGES).values_list("word", "count"))["boots"] == 2
    spelling.forget()
    assert search("plimsols").corrected == "plimsolls"


@pytest.mark.django_db
@pytest.mark.usefixtures("shoes")
def test_its_words_are_read_in_the_indexs_language_whichever_is_active(monkeypatch):
    monkeypatch.setattr(type(IMAGES), "get_words", lambda index, product: [f"in {get_language()}"])
    with translation.override("es"):
        vocabulary.recount(IMAGES)
    words = set(VocabularyWord.objects.of(IMAGES).values_list("word", flat=True))
    assert any(word.startswith("en") for word in words)
    assert "es" not in words


@pytest.mark.django_db
def test_another_process_reads_new_words_before_long(monkeypatch):
    VocabularyWord.objects.create(index=IMAGES.name, word="plimsolls")
    assert spelling.spelling_of(IMAGES, "en").corrected("boost") == ""
    VocabularyWord.objects.create(index=IMAGES.name, word="boots")
    assert spelling.spelling_of(IMAGES, "en").corrected("bootts") == ""
    monkeypatch.setattr(spelling, "KEPT_SECONDS", 0)
    assert spelling.spelling_of(IMAGES, "en").corrected("bootts") == "boots"


@pytest.mark.django_db
@pytest.mark.usefixtures("shoes")
def test_where_errors_are_not_corrected_no_word_is_kept_nor_read(settings, django_assert_num_queries):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "CORRECT_TYPING": False, "SUGGESTIONS": False}
    assert vocabulary.recount(IMAGES) == 0
    assert not VocabularyWord.objects.exists()
    with django_assert_num_queries(0):
        vocabulary.add(IMAGES, ProductImage.objects.none(), using="default")


def test_of_200_typing_errors_in_the_demos_titles_nine_in_ten_are_corrected_and_no_title_is_rewritten():
    from demo_project.catalog.assortment import articles
    from shopsearch.registry.analyzer import plain, written_words

    sold = articles()
    counts = {}
    for article in sold:
        for word in written_words([article.title, article.description, article.brand, article.title]):
            counts[word] = counts.get(word, 0) + 1
    demo = Spelling(words=counts, language="en")
    titles = sorted({article.title for article in sold})
    assert [title for title in titles if demo.corrected(title)] == []
    dice = Random("typing")
    asked = []
    while len(asked) < 200:
        title = dice.choice(titles)
        word = dice.choice([each for each in written_words([title]) if len(each) > 3])
        place = dice.randrange(1, len(word) - 1)
        first, letter, rest = word[:place], word[place], word[place + 1 :]
        typed = dice.choice(
            [first + rest, first + letter * 2 + rest, f"{first}q{rest}", first + rest[0] + letter + rest[1:]]
        )
        if typed not in counts:
            asked.append((title, title.lower().replace(word, typed, 1)))
    right = [plain(demo.corrected(typed) or typed) == plain(title) for title, typed in asked]
    assert sum(right) >= 180
