"""Training the bundled model: what it may see, that a seed decides everything, and that a broken run goes on."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from demo_project.catalog.assortment import articles
from demo_project.rendering.absences import ABSENT_THINGS
from demo_project.rendering.palettes import PATTERNS
from demo_project.rendering.products import SHOP_VARIANTS, TRAINING_VARIANTS
from demo_project.rendering.vocabulary import CATEGORY_NAMES
from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE
from shopsearch.types import Query
from tests.services.catalogue import QUERY_VARIANTS
from training import model_files
from training.absent_things import THINGS
from training.batches import ABSENT, ANY, Batches
from training.evaluate import exam_along_the_way, final_exam, sat
from training.exam import Exam, in_vain
from training.learner import Learner
from training.losses import contrast, meets
from training.pool import CATEGORIES, KEPT_PIXELS, Pool, drawn, held_out_pairs, plan
from training.recipe import Recipe, Stage
from training.texts import Writer
from training.vocabulary import tokenizer

TINY = Recipe(
    products=500,
    references=80,
    pixels=24,
    width=32,
    heads=2,
    tower_layers=1,
    text_layers=1,
    look=Stage(name="look", steps=3, learning_rate=1e-3, warm_up=2, floor=0.2),
    pictures_of_look=4,
    join=Stage(name="join", steps=4, learning_rate=1e-3, warm_up=2, floor=0.2),
    groups=3,
    absent_texts=2,
)


@pytest.fixture(scope="module")
def words():
    return tokenizer(seed=1, size=800, texts=2_000)


@pytest.fixture(scope="module")
def drawings():
    return plan(products=TINY.products, references=TINY.references, seed=TINY.seed)


@pytest.fixture(scope="module")
def pool(drawings, tmp_path_factory):
    """Noise, which is drawn sooner."""
    file = tmp_path_factory.mktemp("pool") / "pool.npy"
    shape = (len(drawings), KEPT_PIXELS, KEPT_PIXELS, 3)
    np.save(file, np.random.default_rng(5).integers(0, 255, shape, np.uint8))
    return Pool(drawings, file)


@pytest.fixture
def learner(pool, words):
    def make():
        return Learner(recipe=TINY, pool=pool, tokenizer=words)

    return make


def test_no_training_picture_shows_a_pair_that_is_held_out():
    recipe = Recipe()
    planned = plan(products=recipe.products, references=recipe.references, seed=recipe.seed)

    held_out = held_out_pairs()
    assert ("phone_case", "leopard") in held_out
    assert len(held_out) == 48
    assert not held_out & {(each.category, each.pattern) for each in planned}
    assert {each.category for each in planned} == {"", *CATEGORIES}
    assert {each.pattern for each in planned} == set(PATTERNS)


def test_no_query_of_training_asks_for_a_pair_that_is_held_out(drawings):
    batches = Batches(drawings, seed=1)
    held_out = {(CATEGORIES.index(one), PATTERNS.index(other)) for one, other in held_out_pairs()}
    for step in range(40):
        joining = batches.to_join(step, 0, groups=10, absent_share=0.1, absent_texts=8)
        looking = batches.to_look_at(step, 0, count=32)
        asked = [*joining.beside.asked, *joining.alone.asked, *looking.alone.asked]
        assert not held_out & {(category, pattern) for category, pattern, _ in asked}


def test_training_shop_queries_and_exams_share_no_texture_and_no_product():
    exams = (exam_along_the_way(), final_exam())
    textures = [TRAINING_VARIANTS, SHOP_VARIANTS, QUERY_VARIANTS, *(exam.variants for exam in exams)]
    assert len(set().union(*textures)) == sum(map(len, textures))
    recipe = Recipe()
    trained = {each.design for each in plan(products=recipe.products, references=9, seed=recipe.seed)}
    designs = [trained, {article.design for article in articles()}]
    designs += [{each.design for each in exam.catalogue} for exam in exams]
    assert len(set().union(*designs)) == sum(map(len, designs))


def test_no_word_for_what_is_absent_in_the_tests_was_absent_in_training():
    for language, things in ABSENT_THINGS.items():
        assert len(things) >= 100
        assert not set(things) & set(THINGS[language])
        sold = {name for names in CATEGORY_NAMES[language].values() for name in names}
        assert not sold & {*things, *THINGS[language]}


def test_the_seed_decides_the_pool_and_every_batch(drawings):
    again = plan(products=TINY.products, references=TINY.references, seed=TINY.seed)
    other = plan(products=TINY.products, references=TINY.references, seed=2)
    assert again == drawings != other

    def batch(seed, step, process):
        made = Batches(drawings, seed=seed).to_join(step, process, groups=4, absent_share=0.2, absent_texts=3)
        return made.places.tolist(), made.beside, made.alone

    assert batch(1, 7, 0) == batch(1, 7, 0)
    assert batch(1, 7, 0) != batch(1, 7, 1)
    assert batch(1, 7, 0) != batch(1, 8, 0)
    assert batch(1, 7, 0) != batch(2, 7, 0)


def test_whoever_asks_for_something_sold_finds_it_in_the_batch(drawings):
    batches = Batches(drawings, seed=1)
    for step in range(20):
        batch = batches.to_join(step, 0, groups=6, absent_share=0.2, absent_texts=5)
        shown = torch.from_numpy(batches.attributes[batch.places])
        products = shown[shown[:, 0] != ANY]
        for asked in (*batch.beside.asked, *batch.alone.asked):
            right = meets(torch.tensor([asked]), products)
            assert bool(right.any()) is (asked[0] != ABSENT)


def test_a_picture_is_drawn_once(drawings, tmp_path, monkeypatch):
    few = drawings[:3]
    first = drawn(few, tmp_path, processes=1)
    monkeypatch.setattr("training.pool.ProcessPoolExecutor", None)

    second = drawn(few, tmp_path, processes=1)

    assert np.array_equal(first.pictures, second.pictures)
    assert np.array_equal(first.pictures[1], np.asarray(few[1].picture(KEPT_PIXELS)))


def test_a_run_that_is_killed_and_resumed_ends_with_the_weights_of_an_unbroken_one(learner, tmp_path):
    unbroken = learner()
    losses = list(unbroken.learn())
    assert len(losses) == TINY.look.steps + TINY.join.steps

    for killed_after in (2, 3, 5):  # in the first stage, at its end, in the second
        killed, checkpoint = learner(), tmp_path / f"{killed_after}.pt"
        for parts in killed.learn():
            assert parts == losses[killed.done - 1]
            if killed.done == killed_after:
                killed.save(checkpoint)
            if killed.done == killed_after + 1:  # a step that is lost
                break
        resumed = learner()
        resumed.resume(checkpoint)
        assert resumed.done == killed_after
        assert list(resumed.learn()) == losses[killed_after:]
        expected = unbroken.network.state_dict()
        for name, value in resumed.network.state_dict().items():
            assert torch.equal(value, expected[name]), name


def test_the_models_folder_is_one_that_the_embedder_reads(learner, tmp_path):
    trained = learner()
    for _ in trained.learn():
        pass
    model_files.describe(trained.configuration, trained.tokenizer, tmp_path)
    model_files.write(trained.network, tmp_path / "model.safetensors")

    embedder = VisualizedBGE(model=str(tmp_path))
    picture = Image.new("RGB", (40, 30), "red")
    vectors = embedder.embed([Query(text="a mug"), Query(image=picture), Query(text="mug", image=picture)])

    assert vectors.shape == (3, TINY.width)
    ids = trained.tokenizer.encode("a mug").ids
    with torch.no_grad():
        expected = trained.network.model.eval().embed_texts([ids])[0].numpy()
    assert vectors[0] @ expected > 0.999  # half precision


def test_a_query_for_nothing_is_taught_to_be_far_from_everything(learner):
    network = learner().network
    targets = torch.eye(4)[:2]
    nothing = torch.zeros(1, 2, dtype=torch.bool)

    def loss(query):
        return contrast(network, torch.tensor([query]), targets, nothing, margin=0.1)[0].item()

    assert loss([0.0, 0.0, 1.0, 0.0]) < loss([0.6, 0.0, 0.8, 0.0]) < loss([1.0, 0.0, 0.0, 0.0])


def test_a_query_that_is_sold_is_taught_to_be_nearer_than_nothing(learner):
    network = learner().network
    targets = torch.eye(4)[:2]
    first = torch.tensor([[True, False]])

    def loss(query):
        return contrast(network, torch.tensor([query]), targets, first, margin=0.1)[0].item()

    # The same lead over the other product, but one of them is hardly like anything.
    assert loss([1.0, 0.5, 0.0, 0.0]) < loss([0.5, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_phrase_names_what_it_is_asked_to(language):
    writer = Writer(Random(3), language)
    for _ in range(50):
        phrase = writer.description("mug", "zebra", "")
        assert any(name in phrase for name in CATEGORY_NAMES[language]["mug"])
        assert "zebra" in phrase or "cebra" in phrase
        beside = writer.like_this("cap")
        assert any(name in beside for name in CATEGORY_NAMES[language]["cap"])


def test_the_exam_is_the_same_each_time_and_has_every_held_out_pair():
    exam, again = final_exam(), final_exam()
    assert (exam.catalogue, exam.questions) == (again.catalogue, again.questions)
    assert len(exam.catalogue) == 900
    assert held_out_pairs() <= {(each.category, each.pattern) for each in exam.catalogue}
    assert {question.kind for question in exam.questions if question.language == "es"} == {
        question.kind for question in exam.questions if question.language == "en"
    }
    absent, sold = in_vain(exam, count=20)
    assert len(absent) == len(sold) == 20


def test_an_exam_is_passed_by_who_knows_the_answers():
    exam = Exam(seed=3, variants=range(1), questions_each=8)
    exam.questions = [each for each in exam.questions if each.kind == "image, the same product"]
    shown = {each: np.full((2, 2, 3), place % 256, np.uint8) for place, each in enumerate(exam.catalogue)}
    for question in exam.questions:
        shown[question.picture] = shown[exam.catalogue[question.product]]

    class Knowing:
        wrong = 0

        def embed(self, queries):
            vectors = np.zeros((len(queries), 256), np.float32)
            for row, query in zip(vectors, queries, strict=True):
                row[query.image.getpixel((0, 0))[0] - self.wrong] = 1
            return vectors

    exam.catalogue = exam.catalogue[:256]
    exam.questions = [replace(each, product=each.product % 256) for each in exam.questions]
    [figures] = sat(Knowing(), exam, shown)["image, the same product"].values()
    assert figures == {"questions": 8, "R@1": 1, "R@5": 1, "MRR": 1, "nDCG@9": 1}
