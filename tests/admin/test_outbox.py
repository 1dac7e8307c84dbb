"""The outbox in the admin: read by staff, set going again by those who may."""

import pytest
from django.core.files.base import ContentFile
from django.urls import reverse

from shopsearch.models import IndexEntry
from tests.admin.pages import ENTRIES, act, add_image, index_everything, page, picture, state_of
from tests.shop.models import Poster, PosterImage

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.pages")]


def test_the_outbox_is_listed_with_links_to_the_images(admin_client):
    image = add_image(content=ContentFile(b"no picture", name="shard.png"))
    index_everything()
    listed = page(admin_client, ENTRIES)
    address = reverse("admin:shopsearch_productimage_change", args=[image.pk])
    assert f'<a href="{address}">{image.pk}</a>' in listed
    assert "not a picture" in listed
    assert 'shopsearch-state-failed">failed<' in listed


def test_an_image_whose_model_is_not_in_the_admin_is_listed_without_a_link(admin_client):
    PosterImage.objects.create(product=Poster.objects.create(title="sea"), image=picture())
    index_everything()
    IndexEntry.objects.create(index="gone_image", image_id="<script>")
    listed = page(admin_client, ENTRIES)
    assert "shop_<wbr>posterimage" in listed
    assert "&lt;script&gt;" in listed
    assert "<script>" not in listed.replace("<script src", "")


def test_nobody_adds_edits_or_deletes_rows_of_the_outbox(admin_client):
    assert state_of(add_image()) == "pending"
    entry = IndexEntry.objects.get()
    assert admin_client.get(reverse("admin:shopsearch_indexentry_add")).status_code == 403
    delete = reverse("admin:shopsearch_indexentry_delete", args=[entry.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403
    change = reverse("admin:shopsearch_indexentry_change", args=[entry.pk])
    assert admin_client.post(change, {"state": "indexed"}).status_code == 403
    assert IndexEntry.objects.get().state == "pending"
    assert "delete_selected" not in page(admin_client, ENTRIES)


def test_the_selected_rows_are_reindexed(admin_client):
    image = add_image()
    index_everything()
    assert "1 image will be reindexed." in act(
        admin_client, ENTRIES, "reindex_selected", IndexEntry.objects.get()
    )
    assert state_of(image) == "pending"


def test_a_row_with_a_change_that_is_not_folded_yet_waits_and_a_line_says_how_many_there_are(admin_client):
    image = add_image()
    index_everything()
    assert "for a worker" not in page(admin_client, ENTRIES)
    image.save()
    image.save()
    listed = page(admin_client, ENTRIES)
    assert "2 changes wait for a worker." in listed
    assert 'shopsearch-state-pending">pending<' in listed
    assert "shopsearch-state-indexed" not in listed


def test_a_row_of_an_index_that_is_gone_is_left_alone(admin_client):
    entry = IndexEntry.objects.create(index="gone_image", image_id="1", state="failed")
    assert "0 images will be reindexed." in act(admin_client, ENTRIES, "reindex_selected", entry)


def test_only_the_failed_among_the_selected_are_retried(admin_client):
    broken = add_image(content=ContentFile(b"no picture", name="shard.png"))
    whole = add_image()
    index_everything()
    assert "1 image will be reindexed." in act(
        admin_client, ENTRIES, "retry_failed", *IndexEntry.objects.all()
    )
    assert state_of(broken) == "pending"
    assert state_of(whole) == "indexed"


def test_everything_is_reindexed_after_a_confirmation(admin_client):
    image = add_image()
    index_everything()
    address = reverse("admin:shopsearch_reindex")
    assert address in page(admin_client, ENTRIES)
    asked = admin_client.get(address).content.decode()
    assert "shopsearch_productimage: 1 image" in asked
    assert "csrfmiddlewaretoken" in asked
    assert state_of(image) == "indexed"
    done = admin_client.post(address, follow=True)
    assert "1 image will be reindexed." in done.content.decode()
    assert state_of(image) == "pending"


def test_reindexing_everything_needs_the_token_of_the_form(admin_user):
    from django.test import Client

    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert strict.post(reverse("admin:shopsearch_reindex")).status_code == 403


def test_who_may_not_reindex_sees_the_outbox_and_no_button(staff):
    image = add_image()
    index_everything()
    client = staff("view_indexentry")
    address = reverse("admin:shopsearch_reindex")
    assert address not in page(client, ENTRIES)
    assert client.get(address).status_code == 403
    assert client.post(address).status_code == 403
    act(client, ENTRIES, "reindex_selected", IndexEntry.objects.get())
    assert state_of(image) == "indexed"


def test_strangers_are_sent_to_the_login(client):
    assert "/admin/login/" in client.get(reverse("admin:shopsearch_reindex"))["Location"]


def test_who_may_reindex_but_not_see_the_outbox_is_not_sent_there(staff):
    add_image()
    response = staff("reindex").post(reverse("admin:shopsearch_reindex"), follow=True)
    assert response.status_code == 200
    assert "1 image will be reindexed." in response.content.decode()


def test_another_admin_site_than_djangos_serves_the_outbox_too(admin_client):
    poster = PosterImage.objects.create(product=Poster.objects.create(title="sea"), image=picture())
    index_everything()
    listed = page(admin_client, "staff:shopsearch_indexentry_changelist")
    assert f'href="/staff/shop/posterimage/{poster.pk}/change/"' in listed
    assert 'href="/staff/shopsearch/indexentry/reindex/"' in listed
    asked = page(admin_client, "staff:shopsearch_reindex")
    assert 'href="/admin/' not in asked
    done = admin_client.post(reverse("staff:shopsearch_reindex"))
    assert done["Location"] == "/staff/shopsearch/indexentry/"
