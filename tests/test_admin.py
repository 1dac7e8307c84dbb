"""The admin, as a shop's staff use it."""

from io import BytesIO

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from PIL import Image

from shopsearch import indexing
from shopsearch.admin import IndexEntryAdmin, ProductImageAdminMixin, ProductImageInline
from shopsearch.backends import get_vector_store
from shopsearch.models import IndexEntry, ProductImage
from shopsearch.registry import index_for
from tests.shop.models import Artwork, Poster, PosterImage, Product

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]
IMAGES = "admin:shopsearch_productimage_changelist"
ENTRIES = "admin:shopsearch_indexentry_changelist"


site = admin.AdminSite(name="staff")
"""A site of the shop's own, with its own image models, and its products with their images."""
site.register(IndexEntry, IndexEntryAdmin)
site.register(PosterImage, type("PosterImageAdmin", (ProductImageAdminMixin, admin.ModelAdmin), {}))
site.register(Artwork, type("ArtworkAdmin", (ProductImageAdminMixin, admin.ModelAdmin), {}))
site.register(Product, type("ProductAdmin", (admin.ModelAdmin,), {"inlines": [ProductImageInline]}))
urlpatterns = [path("admin/", admin.site.urls), path("staff/", site.urls)]


def picture(colour="red"):
    content = BytesIO()
    Image.new("RGB", (40, 40), colour).save(content, "PNG")
    return ContentFile(content.getvalue(), name="picture.png")


def add_image(title="mug", content=None):
    product = Product.objects.create(title=title)
    return ProductImage.objects.create(
        product=product, image=content or picture(), alternative_text=f"a {title}"
    )


def index_everything():
    for _ in indexing.index_pending():
        pass


@pytest.fixture(autouse=True)
def _fresh_store():
    get_vector_store().clear()
    yield
    get_vector_store().clear()


@pytest.fixture
def staff(client):
    """Logs in a member of staff with these permissions."""

    def log_in(*permissions):
        user = User.objects.create_user("staff", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
        return client

    return log_in


def page(client, name, *arguments):
    response = client.get(reverse(name, args=arguments))
    assert response.status_code == 200
    return response.content.decode()


# Images


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
    IndexEntry.objects.all().delete()
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
    assert IndexEntry.objects.get().image_id == str(ProductImage.objects.get().pk)


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


def act(client, name, action, *chosen):
    data = {"action": action, "_selected_action": [each.pk for each in chosen]}
    return client.post(reverse(name), data, follow=True).content.decode()


def state_of(image):
    return IndexEntry.objects.get(index=index_for(type(image)).name, image_id=image.pk).state


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


# The outbox


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
    IndexEntry.objects.create(index="gone_image", image_id="<script>")
    listed = page(admin_client, ENTRIES)
    assert "shop_<wbr>posterimage" in listed
    assert "&lt;script&gt;" in listed
    assert "<script>" not in listed.replace("<script src", "")


def test_nobody_adds_edits_or_deletes_rows_of_the_outbox(admin_client):
    add_image()
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
    listed = page(admin_client, "staff:shopsearch_indexentry_changelist")
    assert f'href="/staff/shop/posterimage/{poster.pk}/change/"' in listed
    assert 'href="/staff/shopsearch/indexentry/reindex/"' in listed
    asked = page(admin_client, "staff:shopsearch_reindex")
    assert 'href="/admin/' not in asked
    done = admin_client.post(reverse("staff:shopsearch_reindex"))
    assert done["Location"] == "/staff/shopsearch/indexentry/"
