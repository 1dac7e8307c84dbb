"""The pictures of rules by looks: embedded by workers, by space, and taken along to a new model."""

from pathlib import Path
from unittest.mock import patch

import pytest
from PIL import Image

from shopsearch import tasks
from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.indexing import rebuild, rule_pictures
from shopsearch.models import ProductImage, Rule, RuleAction, RulePicture, RuleVector
from shopsearch.models.rules import look_space
from shopsearch.registry import index_for
from shopsearch.search import rules
from shopsearch.search.diagnosis import diagnose
from shopsearch.search.engine import search
from shopsearch.types import Query
from tests.indexing.rebuilds import COLOUR, MIRROR, live, use, work
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db
INDEX = index_for(ProductImage)


@pytest.fixture
def plate(settings):
    use(settings, COLOUR)
    get_vector_store().clear()
    for number in range(4):
        product((220, 30 + number, 30), title=f"red {number}")
    for colour in (GREEN, BLUE):
        product(colour, title="other")
    made = product(BLUE, title="plate")
    index_everything()
    return made


@pytest.fixture
def rule(plate):
    made = Rule.objects.create(name="reds", index=INDEX.name, trigger="looks")
    RuleAction.objects.create(rule=made, kind="pin", products=str(plate.pk))
    RulePicture.objects.create(rule=made, image=picture(RED, "rule.png"))
    return made


def fired(rule, collection, threshold):
    look = Rule.objects.get(pk=rule.pk).look_in(collection.space)
    return {image for image, score in rule_pictures.likenesses(collection, look) if score >= threshold}


def first(colour):
    rules.forget()
    return search(image=Image.new("RGB", (16, 16), colour)).results[0].product.title


def test_a_worker_embeds_what_waits_once_and_the_rule_fires_as_soon_as_it_has_a_threshold(rule):
    assert rule_pictures.has_work()
    get_embedder().embedded = 0
    tasks.index()
    tasks.index()
    assert get_embedder().embedded == 2, "the picture and its middle"
    assert not rule_pictures.has_work()
    assert rules.states_of([rule]) == {rule.pk: "without threshold"}
    assert "reds: waiting for a threshold" in " ".join(each.detail for each in diagnose())
    assert first(RED) != "plate"
    Rule.objects.update(threshold=0.9, threshold_space=look_space(get_embedder().space))
    assert first(RED) == "plate"
    assert first(GREEN) != "plate"


def test_a_file_that_was_replaced_is_embedded_anew_and_a_broken_one_is_told_and_not_tried_again(rule, caplog):
    tasks.index()
    shown = rule.pictures.get()
    shown.image.save("blue.png", picture(BLUE, "blue.png"))
    assert rule_pictures.has_work()
    tasks.index()
    assert RuleVector.objects.get().file == shown.image.name
    shown.image.save("broken.png", picture(BLUE, "broken.png"))
    Path(shown.image.path).write_bytes(b"no picture")
    tasks.index()
    shown.refresh_from_db()
    assert shown.error
    assert not rule_pictures.has_work()
    assert rules.states_of([rule]) == {rule.pk: "without vectors"}


def test_a_new_model_embeds_the_pictures_anew_before_it_goes_live_and_takes_the_threshold_along(
    rule, settings
):
    tasks.index()
    old = live()
    Rule.objects.update(threshold=0.97, threshold_space=look_space(old.space))
    before = fired(rule, old, 0.97)
    assert 0 < len(before) < 7
    use(settings, MIRROR, former=COLOUR)
    rebuild.begin(INDEX)
    tasks.index()
    assert live() == old
    assert {each.space for each in RuleVector.objects.all()} == {
        look_space(old.space),
        look_space(get_embedder().space),
    }
    assert first(RED) == "plate"
    work()
    assert first(RED) != "plate"  # scores of another model mean something else
    assert rule_pictures.has_work()
    tasks.index()
    rule.refresh_from_db()
    assert rule.threshold_space == look_space(live().space) != look_space(old.space)
    assert fired(rule, live(), rule.threshold) == before
    assert first(RED) == "plate"
    rebuild.prune(INDEX)
    tasks.index()
    assert [each.space for each in RuleVector.objects.all()] == [look_space(live().space)]


def test_the_threshold_of_an_earlier_version_which_saw_whole_pictures_alone_is_taken_along(rule):
    shown, space = rule.pictures.get(), get_embedder().space
    [vector] = get_embedder().embed([Query(image=Image.new("RGB", (16, 16), RED))])
    RuleVector.objects.create(picture=shown, space=space, file=shown.image.name, numbers=vector.tobytes())
    Rule.objects.update(threshold=0.97, threshold_space=space)
    before = {image for image, score in rule_pictures.likenesses(live(), vector) if score >= 0.97}
    assert 0 < len(before) < 7
    assert rule_pictures.has_work()
    tasks.index()
    rule.refresh_from_db()
    assert rule.threshold_space == look_space(space)
    assert fired(rule, live(), rule.threshold) == before
    assert first(RED) == "plate"
    tasks.index()
    assert not rule_pictures.has_work()
    assert [each.space for each in RuleVector.objects.all()] == [look_space(space)]


def test_what_a_picture_looks_like_is_of_its_middle_too():
    framed = Image.new("RGB", (100, 60), GREEN)
    framed.paste(RED, (15, 9, 85, 51))
    red, green = (
        rule_pictures.look_of(Image.new("RGB", (100, 60), colour), get_embedder()) for colour in (RED, GREEN)
    )
    whole, middle = get_embedder().embed([Query(image=framed), Query(image=framed.crop((15, 9, 85, 51)))])
    look = rule_pictures.look_of(framed, get_embedder())
    assert middle @ red > 0.999
    assert whole @ red < look @ red < middle @ red
    assert look @ green < whole @ green


@pytest.mark.django_db(transaction=True)  # the database refuses at the commit
@pytest.mark.parametrize("gone", [Rule, RulePicture])
@pytest.mark.parametrize("fails", [False, True])
def test_what_is_deleted_while_a_worker_looks_at_it_is_no_error(rule, monkeypatch, gone, fails):
    embed = type(get_embedder()).embed

    def deleting(self, queries):
        gone.objects.all().delete()
        return None if fails else embed(self, queries)

    monkeypatch.setattr(type(get_embedder()), "embed", deleting)
    rule_pictures.embed()
    assert not RulePicture.objects.exists()
    assert not RuleVector.objects.exists()


def test_a_picture_is_tried_again_when_the_storage_is_back(rule):
    with patch("django.core.files.storage.FileSystemStorage._open", side_effect=ConnectionError("away")):
        rule_pictures.embed()
    assert rule_pictures.has_work()
    rule_pictures.embed()
    assert RuleVector.objects.exists()
