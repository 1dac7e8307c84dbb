"""Images in the admin, as a shop's staff see and reindex them."""

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from shopsearch.models import Change, ProductImage
from tests.admin.pages import ENTRIES, IMAGES, act, add_image, index_everything, page, picture, state_of
from tests.shop.models import Artwork, Poster, PosterImage, Product

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.pages")]


def test_an_image_is_listed_with_its_thumbnail_its_product_and_its_state(admin_client):
    image = add_image()
    listed = page(admin_client, IMAGES)
    assert f'src="{image.image.url}"' in listed
    assert 'loading="lazy"' in listed
    assert '<td class="field-product nowrap">mug</td>' in listed
    assert 'shopsearch-state-pending">pending<' in listed
    index_everything()
    assert 'shopsearch-state-indexed">indexed<' in page(admin_client, IMAGES)


def test_an_image_that_failed_is_listed_with_the_reason(admin_client):
    add_image(content=ContentFile(b"no picture", name="shard.png"))
    index_everything()
    listed = page(admin_client, IMAGES)
    assert 'shopsearch-state-failed">failed<' in listed
    assert "not a picture" in listed


def test_an_image_nobody_heard_of_is_not_indexed(admin_client):
    add_image()
    Change.objects.all().delete()
    assert 'shopsearch-state-none">not indexed<' in page(admin_client, IMAGES)


def test_many_images_are_listed_with_as_many_queries_as_few(admin_client):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            page(admin_client, IMAGES)
        return len(captured)

    add_image()
    queries()  # what Django reads once and keeps
    few = queries()
    for number in range(5):
        add_image(f"mug {number}")
    assert queries() == few


def test_the_pages_have_no_inline_styles_or_scripts_of_ours(admin_client):
    image = add_image()
    for content in (
        page(admin_client, IMAGES),
        page(admin_client, ENTRIES),
        page(admin_client, "admin:shopsearch_productimage_change", image.pk),
        page(admin_client, "admin:shopsearch_reindex"),
    ):
        assert "style=" not in content
        assert "onclick" not in content
        assert "shopsearch/admin.css" in content


def test_images_are_found_by_their_words(admin_client):
    add_image("mug")
    add_image("plate")
    found = admin_client.get(reverse(IMAGES), {"q": "plate"}).content.decode()
    assert "1 product image" in found
    assert "a plate" in found


def test_an_image_is_added_and_is_waiting_at_once(admin_client):
    product = Product.objects.create(title="mug")
    response = admin_client.post(
        reverse("admin:shopsearch_productimage_add"),
        {"product": product.pk, "image": picture(), "alternative_text": "", "position": 0},
    )
    assert response.status_code == 302
    assert state_of(ProductImage.objects.get()) == "pending"


def test_the_selected_images_are_reindexed(admin_client):
    chosen, other = add_image("mug"), add_image("plate")
    index_everything()
    response = act(admin_client, IMAGES, "reindex_selected", chosen)
    assert "1 image will be reindexed." in response
    assert state_of(chosen) == "pending"
    assert state_of(other) == "indexed"


def test_who_may_not_reindex_is_not_offered_it(staff):
    image = add_image()
    index_everything()
    client = staff("view_productimage", "change_productimage", "view_indexentry")
    assert "reindex_selected" not in page(client, IMAGES)
    act(client, IMAGES, "reindex_selected", image)
    assert state_of(image) == "indexed"


def test_who_may_reindex_needs_no_other_permission_than_to_see_the_images(staff):
    image = add_image()
    index_everything()
    client = staff("view_productimage", "reindex")
    assert "1 image will be reindexed." in act(client, IMAGES, "reindex_selected", image)
    assert state_of(image) == "pending"


def test_a_shops_own_image_model_is_shown_with_the_mixin(admin_client):
    image = PosterImage.objects.create(product=Poster.objects.create(title="sea"), image=picture())
    index_everything()
    listed = page(admin_client, "staff:shop_posterimage_changelist")
    assert f'src="{image.image.url}"' in listed
    assert 'shopsearch-state-indexed">indexed<' in listed
    assert "shopsearch/admin.css" in listed


def test_a_model_that_is_itself_the_product_is_shown_with_the_mixin(admin_client):
    image = Artwork.objects.create(code="A-1/é", original=picture())
    listed = page(admin_client, "staff:shop_artwork_changelist")
    assert f'src="{image.original.url}"' in listed
    assert 'shopsearch-state-pending">pending<' in listed


def test_a_product_is_edited_together_with_its_images(admin_client):
    image = add_image()
    index_everything()

    def queries():
        with CaptureQueriesContext(connection) as captured:
            content = page(admin_client, "staff:shop_product_change", image.product_id)
        return content, len(captured)

    queries()  # what Django reads once and keeps
    content, few = queries()
    assert f'<img class="shopsearch-thumbnail" src="{image.image.url}"' in content
    assert 'shopsearch-state-indexed">indexed<' in content
    for _ in range(4):
        ProductImage.objects.create(product=image.product, image=picture())
    assert queries()[1] == few


def test_an_image_is_added_to_its_product(admin_client):
    product = Product.objects.create(title="mug")
    form = {"title": "mug", "price": 1, "tags": "[]", "images-TOTAL_FORMS": 1, "images-INITIAL_FORMS": 0}
    address = reverse("staff:shop_product_change", args=[product.pk])
    response = admin_client.post(address, {**form, "images-0-image": picture(), "images-0-position": 0})
    assert response.status_code == 302
    assert state_of(product.images.get()) == "pending"
