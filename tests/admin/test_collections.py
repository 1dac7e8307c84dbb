"""The admin of collections: a rebuild is watched, paused, resumed, cancelled and rolled back by staff who may."""

import pytest
from django.urls import reverse

from shopsearch.indexing import collections, rebuild
from shopsearch.models import Collection
from tests.indexing.rebuilds import KeptStore, live, states, use, work
from tests.shop.pictures import BLUE, RED, product
from tests.shop.store import IMAGES

pytestmark = pytest.mark.django_db

LIST = "admin:shopsearch_collection_changelist"


@pytest.fixture(autouse=True)
def shop(settings):
    use(settings, settings.SHOPSEARCH["EMBEDDER"])
    KeptStore().clear()
    product(RED, BLUE)
    work()


def order(name, collection):
    return reverse("admin:shopsearch_collection_order", args=[collection.pk, name])


def test_the_live_collection_is_listed_with_what_may_be_done(admin_client):
    content = admin_client.get(reverse(LIST)).content.decode()
    assert order("rebuild", live()) in content
    assert order("pause", live()) not in content


def test_orders_that_make_no_sense_are_not_offered(admin_client):
    def offered():
        content = admin_client.get(reverse(LIST)).content.decode()
        names = ("rebuild", "prune", "pause", "cancel", "roll-back")
        return {name for name in names for each in Collection.objects.all() if order(name, each) in content}

    assert offered() == {"rebuild"}, "there is no earlier collection to drop"
    rebuild.begin(IMAGES)
    assert offered() == {"pause", "cancel"}
    work()
    assert offered() == {"rebuild", "prune", "roll-back"}
    former = Collection.objects.get(state="retired")
    asked = admin_client.get(order("roll-back", former)).content.decode()
    assert former.space in asked
    assert (former.live_at or former.created_at).isoformat() in asked, "since when it was live"


def test_a_rebuild_is_begun_after_a_confirmation_and_its_progress_is_a_bar(admin_client):
    asked = admin_client.get(order("rebuild", live())).content.decode()
    assert "answers until the new one is complete" in asked
    assert states() == ["live"]
    admin_client.post(order("rebuild", live()))
    assert states() == ["live", "building"]
    content = admin_client.get(reverse(LIST)).content.decode()
    assert '<progress class="shopsearch-progress" max="2" value="0"' in content
    assert "0 of 2" in content


def test_every_order_is_carried_out(admin_client):
    def give(name, state):
        [collection] = Collection.objects.filter(index=IMAGES.name, state=state)
        response = admin_client.post(order(name, collection), follow=True)
        assert "messagelist" in response.content.decode()
        return states()

    assert give("rebuild", "live") == ["live", "building"]
    assert give("pause", "building") == ["live", "paused"]
    assert give("resume", "paused") == ["live", "building"]
    assert give("cancel", "building") == ["live"]
    give("rebuild", "live")
    work()
    former = Collection.objects.get(state="retired").name
    assert sorted(give("roll-back", "retired")) == ["building", "live"]
    work()
    assert live().name == former
    assert give("prune", "live") == ["live"]


def test_what_has_another_state_by_now_is_left_alone(admin_client):
    new = rebuild.begin(IMAGES)
    rebuild.pause(IMAGES)
    said = admin_client.post(order("pause", new), follow=True).content.decode()
    assert "state has changed since" in said


def test_a_refusal_is_shown(admin_client):
    rebuild.begin(IMAGES)
    assert "under way already" in admin_client.post(order("rebuild", live()), follow=True).content.decode()


def test_what_is_wrong_is_shown_as_text(admin_client):
    collections.pause(rebuild.begin(IMAGES), "<b>17</b> are missing")
    assert "&lt;b&gt;17&lt;/b&gt; are missing" in admin_client.get(reverse(LIST)).content.decode()


def test_who_may_not_reindex_sees_the_collections_and_gives_no_orders(staff):
    client = staff("view_collection")
    assert live().name.split("_")[0] in client.get(reverse(LIST)).content.decode()
    assert order("rebuild", live()) not in client.get(reverse(LIST)).content.decode()
    assert client.get(order("rebuild", live())).status_code == 403
    assert client.post(order("rebuild", live())).status_code == 403
    assert states() == ["live"]


def test_nobody_adds_changes_or_deletes_a_collection(admin_client):
    for name in ("add",):
        assert admin_client.get(reverse(f"admin:shopsearch_collection_{name}")).status_code == 403
    delete = reverse("admin:shopsearch_collection_delete", args=[live().pk])
    assert admin_client.post(delete).status_code == 403


def test_an_order_that_there_is_not_and_a_collection_of_another_project_are_not_found(admin_client):
    assert admin_client.get(order("explode", live())).status_code == 404
    gone = Collection.objects.create(index="gone", name="x", space="s", dimension=1, state="live")
    assert admin_client.get(reverse(LIST)).status_code == 200
    assert admin_client.get(order("rebuild", gone)).status_code == 404
