"""The admin's page "Shop search": its figures are the database's, and it says how search is to whoever may see it."""

import datetime
import re
import statistics
from datetime import timedelta

import pytest
from celery import current_app
from django.contrib.auth.models import Permission, User
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from shopsearch import tasks
from shopsearch.backends import get_vector_store
from shopsearch.exceptions import VectorStoreError
from shopsearch.indexing import rebuild
from shopsearch.models import Calibration, Collection, EvaluationQuery, Fit, IndexEntry, Rerank, SearchDay
from shopsearch.testing import MemoryStore
from tests.shop.store import IMAGES, live_name

pytestmark = pytest.mark.django_db
PAGE = "admin:shopsearch_overview_changelist"


def page(client):
    response = client.get(reverse(PAGE))
    assert response.status_code == 200
    return response.context, re.sub(r"\s+", " ", response.content.decode())


def the_panel(context):
    return next(panel for panel in context["panels"] if panel.index.name == IMAGES.name)


def test_it_is_in_the_admins_menu_for_those_who_may_view_it(staff):
    client = staff("view_overview")
    assert reverse(PAGE) in client.get(reverse("admin:index")).content.decode()
    page(client)


def test_nobody_else_sees_it(staff, client):
    assert client.get(reverse(PAGE)).status_code == 302
    assert staff("view_collection").get(reverse(PAGE)).status_code == 403


def test_all_is_well_when_it_is(mugs, admin_client):
    assert "Search works" in page(admin_client)[1]
    Calibration.objects.create(
        index=IMAGES.name, space="colour", kind="text", threshold=0, weight=0, typical=[], pairs=9
    )
    assert "All is well" in page(admin_client)[1]


def test_images_are_counted_as_sql_counts_them_and_reasons_are_grouped_and_linked(mugs, admin_client):
    first, second, _ = IndexEntry.objects.of(IMAGES)
    missing = "The file {} is missing; upload the picture again."
    IndexEntry.objects.filter(pk=first.pk).update(state="failed", error=missing.format("a/1.png"))
    IndexEntry.objects.filter(pk=second.pk).update(state="failed", error=missing.format("b/2.png"))
    context, content = page(admin_client)
    panel = the_panel(context)
    states = list(IndexEntry.objects.of(IMAGES).values_list("state", flat=True))
    assert (panel.indexed, panel.waiting, panel.failed) == (
        states.count("indexed"),
        0,
        states.count("failed"),
    )
    [reason] = panel.reasons
    assert (reason.text, reason.count) == (missing.format("…"), 2)
    listed = admin_client.get(reason.address).context["cl"].result_count
    assert listed == 2
    assert "2 of them are found by what was known before" in content


def test_a_rebuild_has_its_progress_and_for_those_who_may_its_buttons(mugs, staff):
    client = staff("view_overview")
    new = rebuild.begin(IMAGES)
    context, content = page(client)
    assert f'max="{new.total}" value="0"' in content
    assert the_panel(context).orders == []
    User.objects.get().user_permissions.add(Permission.objects.get(codename="reindex"))
    titles = [title for _, title in the_panel(page(client)[0]).orders]
    assert titles == ["Pause", "Cancel the rebuild"]
    rebuild.pause(IMAGES)
    titles = [title for _, title in the_panel(page(client)[0]).orders]
    assert titles == ["Resume", "Cancel the rebuild"]


def test_a_fit_is_ordered_watched_and_read_on_this_page(mugs, staff):
    client = staff("view_overview")
    context, content = page(client)
    assert "Fit to this shop" in content
    assert the_panel(context).fit_orders == []

    User.objects.get().user_permissions.add(Permission.objects.get(codename="reindex"))
    [(address, title)] = the_panel(page(client)[0]).fit_orders
    assert title == "Fit to this shop"
    assert "no picture is embedded again" in client.get(address).content.decode()
    assert not Fit.objects.exists()
    assert client.post(address).url == reverse(PAGE)
    assert Fit.objects.get().state == Fit.State.WAITING
    context, content = page(client)
    assert "a worker has been asked" in content
    assert "waits for a worker" in content
    assert the_panel(context).fit_orders == []

    Fit.objects.note(IMAGES, 3, 12)
    assert 'max="12" value="3"' in page(client)[1]
    seen = {"before": 0.1, "after": 0.25, "gained": 0.15, "low": 0.05, "high": 0.2}
    Fit.objects.end(IMAGES, Fit.State.BETTER, products=60, figures={"MRR": seen})
    context, content = page(client)
    assert "<td>0.150</td><td>0.050 / 0.200</td>" in content
    assert "60 products, each searched for" in content
    assert len(the_panel(context).fit_orders) == 1

    Fit.objects.end(IMAGES, Fit.State.FAILED, message="<b>the model</b> is away")
    assert "&lt;b&gt;the model&lt;/b&gt; is away" in page(client)[1]
    rebuild.begin(IMAGES)
    assert the_panel(page(client)[0]).fit_orders == []


def test_a_worker_carries_out_the_order_and_a_sweep_makes_up_for_a_lost_wake_up(
    mugs, admin_client, monkeypatch, django_capture_on_commit_callbacks
):
    monkeypatch.setitem(current_app.conf, "task_always_eager", True)
    [(address, _)] = the_panel(page(admin_client)[0]).fit_orders
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(address)
    assert Fit.objects.get().state == Fit.State.FAILED
    assert "3 products of shopsearch_productimage are indexed" in page(admin_client)[1]

    Fit.objects.ask(IMAGES)
    tasks.sweep()
    assert Fit.objects.get().state == Fit.State.FAILED


def test_an_earlier_collection_can_be_brought_back_from_this_page(mugs, admin_client):
    former = Collection.objects.of(IMAGES).live().get()
    former.row.update(state=Collection.State.RETIRED)
    former.pk, former.name, former.space = None, "newer", "colour_fit_0123456789"
    former.save()
    context, content = page(admin_client)
    assert [title for _, title in the_panel(context).fit_orders] == ["Fit to this shop", "Roll back"]
    assert "an adapter that was fitted to this shop" in content


def test_what_is_away_is_said_with_its_remedy(mugs, admin_client, monkeypatch):
    def away(*arguments):
        raise VectorStoreError("<b>refused</b>")

    monkeypatch.setattr(MemoryStore, "collections", away)
    content = page(admin_client)[1]
    assert "&lt;b&gt;refused&lt;/b&gt;" in content
    assert "Is it running" in content
    assert "Search does not work as it should" in content


def test_a_store_that_lost_images_is_said(mugs, admin_client):
    get_vector_store().delete(live_name(), list(get_vector_store().ids(live_name())))
    assert "the store holds 0 of the 3 images that are indexed." in page(admin_client)[1]


def test_reranks_are_summed_up(admin_client):
    for seconds, state in ((1, "done"), (2, "done"), (9, "done"), (5, "failed")):
        rerank = Rerank.objects.create(
            key=str(seconds), index=IMAGES.name, candidates=[], model="m", deadline_at=timezone.now()
        )
        finished = rerank.created_at = timezone.now()
        Rerank.objects.filter(pk=rerank.pk).update(
            state=state, created_at=finished - timedelta(seconds=seconds), finished_at=finished
        )
    Rerank.objects.create(key="open", index=IMAGES.name, candidates=[], model="m", deadline_at=Now())
    found = page(admin_client)[0]["reranks"]
    assert (found["ended"], found["done"], found["share"]) == (4, 3, 75)
    assert found["seconds"] == pytest.approx(statistics.median([1, 2, 9]))


def test_what_shoppers_look_for_is_for_those_who_may_read_it(staff):
    today = datetime.date.today()
    SearchDay.objects.create(index=IMAGES.name, day=today, searches=7)
    SearchDay.objects.create(index=IMAGES.name, day=today - timedelta(days=3), searches=14)
    for text, asked, weak in (("red mug", 12, 0), ("lawn <mower>", 9, 9)):
        EvaluationQuery.objects.create(
            index=IMAGES.name, text=text, source="shopper", times_asked=asked, times_weak=weak
        )
    EvaluationQuery.objects.create(index=IMAGES.name, text="of staff", source="staff")
    client = staff("view_overview")
    assert "red mug" not in page(client)[1]
    User.objects.get().user_permissions.add(Permission.objects.get(codename="view_evaluationquery"))
    context, content = page(client)
    panel = the_panel(context)
    assert [query.text for query in panel.queries] == ["red mug", "lawn <mower>"]
    assert [query.text for query in panel.unanswered] == ["lawn <mower>"]
    assert (panel.searches, panel.most) == (21, 14)
    assert "lawn &lt;mower&gt;" in content
    assert content.count("<rect") == 2 * 30


def test_it_asks_nothing_of_anybody_else_and_runs_no_script_of_its_own(mugs, admin_client):
    content = page(admin_client)[1]
    assert not re.search(r'(src|href|action)="(https?:)?//', content)
    body = content[content.index('class="shopsearch-overview"') :]
    assert "<script" not in body[: body.index("</section> </div>")]


@pytest.mark.parametrize("images", [3, 30])
def test_its_queries_do_not_grow_with_the_shop(mugs, admin_client, images, django_assert_max_num_queries):
    IndexEntry.objects.bulk_create(
        [
            IndexEntry(index=IMAGES.name, image_id=f"x{number}", state="failed", error=f"e {number}")
            for number in range(images)
        ]
    )
    with django_assert_max_num_queries(60):
        page(admin_client)
