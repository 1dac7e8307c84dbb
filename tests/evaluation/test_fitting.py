"""Fitting to a shop's own titles: proven on products kept aside, live by a rebuild, taken back, nothing embedded."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from shopsearch.backends import embedder_for, get_embedder, get_query_embedder
from shopsearch.evaluation import fits, fitting
from shopsearch.exceptions import EmbedderError
from shopsearch.indexing import rebuild
from shopsearch.indexing.rebuild import Refused
from shopsearch.models import Adapter, Collection, Fit
from shopsearch.search.engine import search
from shopsearch.testing import ColourEmbedder
from tests.indexing import rebuilds
from tests.indexing.rebuilds import live, use, work
from tests.shop.pictures import product
from tests.shop.store import IMAGES

COLOURS = {
    "vrel": "red",
    "skond": "green",
    "plau": "blue",
    "quix": "yellow",
    "frim": "purple",
    "doost": "orange",
}
"""What this shop calls its colours, in words that no model has learnt."""
MODEL = SimpleNamespace(batch_size=32, space="model", dimension=40)


def titled(count=150, *, told=1.0, seed=1):
    """Products whose titles tell, by another part of the space, which of eight kinds the picture shows."""
    dice = np.random.default_rng(seed)
    kinds = dice.integers(8, size=count)
    images, texts = (0.4 * dice.standard_normal((count, 40)) for _ in range(2))
    images[np.arange(count), kinds] += 2
    texts[np.arange(count), 20 + kinds] += 2 * told
    vectors = [
        (each / np.linalg.norm(each, axis=1, keepdims=True)).astype(np.float32) for each in (texts, images)
    ]
    titles = [f"{number:x}-{kind}" for number, kind in enumerate(kinds)]
    return fitting.Titled(
        titles=titles, texts=vectors[0], words=vectors[0], images=vectors[1], owners=np.arange(count)
    )


def test_titles_that_tell_what_pictures_show_are_proven_to_find_products_that_were_kept_aside():
    proof = fitting.prove(titled(), MODEL)
    assert proof.is_better
    assert proof.after[1] > proof.before[1] + 0.05
    assert proof.figures["MRR"]["low"] > 0


def test_a_proof_is_the_same_for_the_same_seed():
    assert fitting.prove(titled(), MODEL, seed=4) == fitting.prove(titled(), MODEL, seed=4)


def test_titles_that_tell_nothing_are_declined_in_a_sentence():
    proofs = [fitting.prove(titled(told=0, seed=seed), MODEL) for seed in range(4)]
    declined = [proof for proof in proofs if not proof.is_better]
    assert len(declined) >= len(proofs) - 1  # chance alone proves about one shop in thirty
    assert all(
        proof.sentence.startswith("No adapter is made: for titles of 150 products") for proof in declined
    )


@pytest.mark.parametrize("titles", [["Shoe"] * 60, ["Shoe"] * 30 + ["Table"] * 30], ids=["one", "two"])
def test_a_shop_of_a_family_or_two_is_declined_as_there_is_nothing_else_to_learn_from(titles):
    shop = replace(titled(60), titles=titles)
    assert not fitting.prove(shop, MODEL).is_better


def test_one_division_in_which_a_figure_falls_is_enough_to_decline():
    proof = fitting.prove(titled(), MODEL)
    lost = replace(proof, worst=[-0.004, *proof.worst[1:]])
    assert proof.is_better
    assert not lost.is_better
    assert "R@1 falls by 0.004" in lost.sentence


def test_siblings_are_kept_on_one_side():
    titles = [
        "Red linen shirt",
        "Blue linen shirt",
        "Linen shirt, long",
        "Oak table",
        "Oak table round",
        "Lamp",
    ]
    families = fitting._families(titles)
    assert families[0] == families[1] == families[2]
    assert families[3] == families[4]
    assert len(set(families)) == 3


@dataclass(kw_only=True, eq=False)
class Watched(ColourEmbedder):
    """Counts pictures apart: titles are embedded for a fit, pictures are not."""

    pictures: int = field(default=0, init=False)

    def embed(self, queries):
        self.pictures += sum(query.image is not None for query in queries)
        return super().embed(queries)


@pytest.fixture
def shop(settings):
    rebuilds._kept.clear()
    use(settings, {"BACKEND": "tests.evaluation.test_fitting.Watched"})
    for number in range(60):
        word = list(COLOURS)[number % len(COLOURS)]
        product(COLOURS[word], title=f"{word} {number:x}{number:o}{number}")
    work()
    get_embedder().pictures = 0


@pytest.mark.django_db
@pytest.mark.usefixtures("shop")
def test_a_fit_goes_live_is_searched_refitted_and_taken_back_and_no_picture_is_embedded_again(capsys):
    alone = live().space
    assert first_colours("skond") != {"green"}
    call_command("shopsearch_fit", "--dry-run")
    assert not Adapter.objects.exists()

    call_command("shopsearch_fit")
    assert live().space == alone
    work()
    fitted = live().space
    assert fitted == embedder_for(IMAGES).space == Adapter.objects.get().space != alone
    assert first_colours("skond") == {"green"}
    assert get_query_embedder(fitted).embedder.embedder is get_embedder()
    assert get_embedder().pictures == 0

    product("green", title="skond newcomer")
    work()
    assert get_embedder().pictures == 1
    fits.ask(IMAGES)
    fits.run_asked()
    fit = Fit.objects.get()
    assert (fit.state, fit.products) == (Fit.State.BETTER, 61)
    assert fit.figures == Adapter.objects.get(is_chosen=True).figures
    work()
    assert live().space not in (alone, fitted)
    assert first_colours("skond") == {"green"}

    rebuild.prune(IMAGES)
    assert Adapter.objects.get().space == live().space
    assert get_embedder().pictures == 1


@pytest.mark.django_db
@pytest.mark.usefixtures("shop")
def test_a_rollback_takes_an_adapter_back_with_all_that_changed_meanwhile():
    alone = live().space
    call_command("shopsearch_fit")
    work()
    product("green", title="skond newcomer")
    work()
    rebuild.roll_back(IMAGES)
    work()
    assert live().space == embedder_for(IMAGES).space == alone
    assert "skond newcomer" in [result.product.title for result in search("green", limit=24).results]
    assert get_embedder().pictures == 1
    call_command("shopsearch_reindex", "--no-wait")
    assert not Collection.objects.of(IMAGES).unfinished().exists()


@pytest.mark.django_db
def test_a_shop_that_is_too_small_or_not_indexed_is_told_so(settings):
    use(settings)
    with pytest.raises(CommandError, match="shopsearch_reindex"):
        call_command("shopsearch_fit")
    product("red")
    work()
    with pytest.raises(CommandError, match=r"1 products of .* a fit needs at least 40"):
        call_command("shopsearch_fit")


# Fits that a worker carries out.


@pytest.mark.django_db
def test_a_product_whose_words_cannot_be_read_is_learnt_by_its_title(settings, monkeypatch):
    rebuilds._kept.clear()
    use(settings)
    product("red", title="vrel")
    work()
    monkeypatch.setattr(type(IMAGES), "get_words", lambda self, each: 1 / 0)
    found = fitting.titled(IMAGES, get_embedder(), live())
    assert found.titles == ["vrel"]
    assert np.array_equal(found.words, found.texts)


@pytest.fixture
def proven(settings, monkeypatch):
    """A shop of one product, where proving is quick and gains nothing: its steps, as they were recorded."""
    rebuilds._kept.clear()
    use(settings)
    product("red")
    work()
    proof, steps = replace(fitting.prove(titled(60), MODEL), worst=[-1, 0, 0]), []

    def prove_index(index, *, progress):
        for step in (1, 2):
            progress(step, 2)
            fit = Fit.objects.get()
            steps.append((fit.state, fit.done, fit.total))
        return None, proof

    monkeypatch.setattr(fitting, "prove_index", prove_index)
    return steps


@pytest.mark.django_db
def test_a_fit_that_was_asked_for_is_carried_out_once_and_tells_how_far_it_is(proven):
    fits.ask(IMAGES)
    assert fits.has_asked()
    with pytest.raises(Refused, match="a fit is under way already"):
        fits.ask(IMAGES)
    fits.run_asked()
    fits.run_asked()
    assert proven == [("running", 1, 2), ("running", 2, 2)]
    assert not fits.has_asked()
    fit = Fit.objects.get()
    assert (fit.state, set(fit.figures)) == (Fit.State.DECLINED, set(fitting.PROOF_MEASURES))
    assert fit.message.startswith("No adapter is made")
    assert not Adapter.objects.exists()
    assert not Collection.objects.of(IMAGES).unfinished().exists()


@pytest.mark.django_db
@pytest.mark.usefixtures("proven")
@pytest.mark.parametrize(
    ("error", "message"), [(EmbedderError("It is away."), "It is away."), (KeyError("x"), "KeyError: 'x'")]
)
def test_a_fit_that_failed_says_why_and_can_be_asked_for_again(monkeypatch, error, message):
    fits.run(IMAGES)

    def fails(*arguments, **options):
        raise error

    monkeypatch.setattr(fitting, "prove_index", fails)
    fits.ask(IMAGES)
    fits.run_asked()
    fit = Fit.objects.get()
    assert (fit.state, fit.message, fit.figures) == (Fit.State.FAILED, message, {})
    fits.ask(IMAGES)


@pytest.mark.django_db
@pytest.mark.usefixtures("proven")
def test_a_fit_whose_worker_was_stopped_can_be_asked_for_again():
    fits.ask(IMAGES)
    assert Fit.objects.claim(IMAGES)
    with pytest.raises(Refused, match="under way"):
        fits.ask(IMAGES)
    Fit.objects.update(changed_at=timezone.now() - Fit.STOPPED_AFTER)
    fits.ask(IMAGES)
    assert Fit.objects.get().state == Fit.State.WAITING


def first_colours(words):
    """Of the first ten results."""
    return {COLOURS.get(result.product.title.split()[0]) for result in search(words, limit=10).results}
