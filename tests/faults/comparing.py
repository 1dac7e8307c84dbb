"""The oracle: what the live collection ought to hold, from the database and the files alone."""

import hashlib
import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from shopsearch.backends import embedder_of, get_vector_store
from shopsearch.models import CachedVector, Collection, IndexEntry, ProductImage
from shopsearch.registry import index_for
from tests.faults.stand_ins import POISON
from tests.shop.models import Artwork

IMAGES, ARTWORKS = index_for(ProductImage), index_for(Artwork)


def differences():
    """Sentences: what is lost, a ghost or stale in the live collections, and what the rows say that is not so."""
    return [*of(IMAGES, shown_images()), *of(ARTWORKS, shown_artworks()), *kept(IMAGES), *kept(ARTWORKS)]


def of(index, shown):
    live, store = Collection.objects.of(index).live().first(), get_vector_store()
    if live is None:
        return [f"{index.name}: nothing is live, and {len(shown)} are shown"] if shown else []
    found = {each.image_id: each for each in store.fetch(live.name, list(store.ids(live.name)))}
    said = [f"{index.name} {key} is lost" for key in shown.keys() - found.keys()]
    said += [f"{index.name} {key} is a ghost" for key in found.keys() - shown.keys()]
    embedder = embedder_of(live.space)
    for key in shown.keys() & found.keys():
        product_id, fields, pixel = shown[key]
        # What is not declared now as it was then is left as it was.
        names = [name for name, kind in live.fields.items() if index.filter_types.get(name) == kind]
        wanted = {name: fields[name] for name in names}
        held = {name: found[key].fields[name] for name in names}
        if (found[key].product_id, held) != (product_id, wanted):
            said.append(f"{index.name} {key} is stale: {held} where {wanted} are")
        if not np.allclose(found[key].vector, embedder.see(pixel), atol=1e-5):
            said.append(f"{index.name} {key} is stale: another picture")
    rows = set(
        IndexEntry.objects.filter(index=index.name, state="indexed").values_list("image_id", flat=True)
    )
    if rows != shown.keys():
        said.append(f"{index.name}: the rows of {rows ^ shown.keys()} are not as they should be")
    return said


def kept(index):
    """Of pictures that are embedded once and for all: nothing but what is true and needed."""
    live, said = Collection.objects.of(index).live().first(), []
    there = {str(image.pk): getattr(image, index.image_field) for image in index.model.objects.all()}
    found = set(get_vector_store().ids(live.name)) if live else set()
    for row in CachedVector.objects.filter(index=index.name):
        if row.image_id not in there:
            said.append(f"{row} is kept, and gone")
        elif row.space == live.space and index.entity_id(row.image_id) in found:
            said.append(f"{row} is kept, and held")
        elif row.image_hash == hash_of(there[row.image_id]) and not np.allclose(
            row.vector, embedder_of(row.space).see(first_pixel(there[row.image_id])), atol=1e-5
        ):
            said.append(f"{row} is kept as another picture's")
    return said


def hash_of(file):
    with file.open() as opened:
        return hashlib.sha256(opened.read()).hexdigest()


def shown_images():
    shown = {}
    for image in ProductImage.objects.filter(product__published=True).select_related("product__category"):
        product = image.product
        fields = {
            "category": product.category.name if product.category else None,
            "price": str(product.price)
            if IMAGES.filter_types.get("price") == "string"
            else float(product.price),
            "in_stock": product.in_stock,
            "tags": tuple(product.tags),
        }
        if pixel := first_pixel(image.image):
            shown[str(image.pk)] = (str(product.pk), fields, pixel)
    return shown


def shown_artworks():
    return {each.pk: (each.pk, {}, first_pixel(each.original)) for each in Artwork.objects.all()}


def first_pixel(file):
    """None of a picture that nobody can index: it is none, or kills whoever tries."""
    with file.open() as opened:
        try:
            pixel = Image.open(io.BytesIO(opened.read())).getpixel((0, 0))
        except UnidentifiedImageError:
            return None
    return None if pixel == POISON else pixel
