"""What a shop does to its products and pictures, by chance: every way there is to change what should be found.

What sends no signal is noted in the same transaction, as the how-to says: an import may die in between.
"""

import io

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from PIL import Image

from shopsearch import paused, reindex
from shopsearch.models import ProductImage
from tests.faults.stand_ins import POISON
from tests.shop.models import Artwork, Category, Product

MOST_PRODUCTS, MOST_CATEGORIES = 12, 2
CODES = ("mona", "lisa", "della")


def png(colour):
    content = io.BytesIO()
    Image.new("RGB", (2, 2), colour).save(content, "PNG")
    return content.getvalue()


# So few that what was changed is often changed back.
PNGS = [png((red, 80, 40)) for red in (30, 120, 220)]
PRICES = 3
BROKEN, DEADLY = b"no picture", png(POISON)


class RolledBack(Exception):
    pass


class Keeper:
    def __init__(self, dice):
        self.dice = dice
        simple = (self.add, self.reprice, self.tag, self.hide_or_show, self.replace, self.delete_picture)
        more = (self.reprice_by_query, self.rename_category, self.choose_category, self.move, self.delete)
        rare = (
            self.bulk_create,
            self.bulk_update,
            self.delete_by_query,
            self.delete_category,
            self.spoil,
            self.take_file,
            self.take_file,
            self.artwork,
            self.artwork,
        )
        self.acts = [*simple, *simple, *more, *[self.rename_category] * 3, *rare]
        self.names = []
        """Of the files that a picture has or had; none is ever deleted."""

    def open(self):
        """What is in the shop before anything happens."""
        Category.objects.create(name="new")
        for _ in range(3):
            self.add()

    def act(self):
        """One thing in a transaction or outside of one, kept or rolled back."""
        act = self.dice.choice(self.acts)
        kind = self.dice.choice(
            ("plain", "plain", "plain", "atomic", "rolled back", "inner rolled back", "paused")
        )
        if kind == "plain":
            act()
            if self.dice.random() < 0.1:
                self.overwrite_file()
        elif kind == "paused":
            with paused():
                act()
                self.dice.choice(self.acts)()
        else:
            self.in_transaction(act, kind)
        self.remember_files()
        return f"{act.__name__} {kind}"

    def in_transaction(self, act, kind):
        try:
            with transaction.atomic():
                act()
                try:
                    with transaction.atomic():
                        self.dice.choice(self.acts)()
                        if kind == "inner rolled back":
                            raise RolledBack
                except RolledBack:
                    pass
                if kind == "rolled back":
                    raise RolledBack
        except RolledBack:
            pass

    def some_of(self, queryset, most=3):
        keys = list(queryset.order_by("pk").values_list("pk", flat=True))
        return self.dice.sample(keys, min(len(keys), self.dice.randint(1, most)))

    def one_of(self, model):
        keys = self.some_of(model.objects, most=1)
        return model.objects.get(pk=keys[0]) if keys else None

    def file(self):
        return ContentFile(self.dice.choice(PNGS), "picture.png")

    # Products

    def add(self):
        if Product.objects.count() < MOST_PRODUCTS:
            category = self.one_of(Category) if self.dice.random() < 0.7 else None
            made = Product.objects.create(title="thing", price=self.dice.randrange(PRICES), category=category)
            for _ in range(self.dice.randint(1, 3)):
                ProductImage.objects.create(product=made, image=self.file())

    def reprice(self):
        if changed := self.one_of(Product):
            changed.price = self.dice.randrange(PRICES)
            changed.save(update_fields=["price"] if self.dice.random() < 0.5 else None)

    def tag(self):
        if changed := self.one_of(Product):
            changed.tags, changed.in_stock = [str(self.dice.randrange(3))], self.dice.random() < 0.5
            changed.save()

    def reprice_by_query(self):
        chosen = self.some_of(Product.objects)
        with transaction.atomic():
            Product.objects.filter(pk__in=chosen).update(price=self.dice.randrange(PRICES))
            reindex(ProductImage.objects.filter(product__in=chosen))

    def hide_or_show(self):
        if changed := self.one_of(Product):
            changed.published = not changed.published
            changed.save()

    def choose_category(self):
        if changed := self.one_of(Product):
            is_new = Category.objects.count() < MOST_CATEGORIES and self.dice.random() < 0.3
            changed.category = Category.objects.create(name="new") if is_new else self.one_of(Category)
            changed.save()

    def rename_category(self):
        if changed := self.one_of(Category):
            changed.name = str(self.dice.randrange(5))
            changed.save()

    def delete_category(self):
        if gone := self.one_of(Category):
            gone.delete()

    def delete(self):
        if gone := self.one_of(Product):
            gone.delete()

    # Pictures

    def replace(self):
        if changed := self.one_of(ProductImage):
            changed.image.save("picture.png", self.file())

    def remember_files(self):
        names = ProductImage.objects.order_by("pk").values_list("image", flat=True)
        self.names += [name for name in dict.fromkeys(names) if name not in self.names]

    def take_file(self):
        """A file that this picture or another one has or had."""
        if self.names and (changed := self.one_of(ProductImage)):
            changed.image = self.dice.choice(self.names)
            changed.save()

    def overwrite_file(self):
        """The file changes under its name, which no transaction takes back."""
        if changed := self.one_of(ProductImage):
            self.write(changed.image.name)
            for image in ProductImage.objects.filter(image=changed.image.name):
                image.save()

    def restore_files(self):
        """Other pictures in files of the same name, size and time, as from a backup. Nobody hears of it."""
        for key in self.some_of(ProductImage.objects):
            name = ProductImage.objects.get(pk=key).image.name
            with default_storage.open(name) as file:
                is_sound = file.read() in PNGS  # one that FAILED is looked at again only when it is saved
            if is_sound:
                modified_at = default_storage.get_modified_time(name)
                self.write(name)
                default_storage._resolve(name).modified_time = modified_at

    def write(self, name):
        default_storage.delete(name)
        default_storage.save(name, self.file())

    def spoil(self):
        if changed := self.one_of(ProductImage):
            changed.image.save("picture.png", ContentFile(self.dice.choice((BROKEN, DEADLY))))

    def move(self):
        if (changed := self.one_of(ProductImage)) and (other := self.one_of(Product)):
            changed.product = other
            changed.save()

    def delete_picture(self):
        if gone := self.one_of(ProductImage):
            gone.delete()

    def delete_by_query(self):
        ProductImage.objects.filter(pk__in=self.some_of(ProductImage.objects)).delete()

    def bulk_create(self):
        if owner := self.one_of(Product):
            made = [ProductImage(product=owner, image=self.file()) for _ in range(self.dice.randint(1, 4))]
            for image in made:
                image.image.save("picture.png", image.image.file, save=False)
            with transaction.atomic():
                ProductImage.objects.bulk_create(made)
                reindex(ProductImage.objects.filter(pk__in=[image.pk for image in made]))

    def bulk_update(self):
        changed = list(ProductImage.objects.filter(pk__in=self.some_of(ProductImage.objects)))
        owner = self.one_of(Product)
        for image in changed:
            image.product = owner
        if changed and owner:
            with transaction.atomic():
                ProductImage.objects.bulk_update(changed, ["product"])
                reindex(ProductImage.objects.filter(pk__in=[image.pk for image in changed]))

    def artwork(self):
        """Its key is its code, so one that was deleted may return."""
        code = self.dice.choice(CODES)
        if (known := Artwork.objects.filter(code=code).first()) and self.dice.random() < 0.5:
            known.delete()
        else:
            Artwork.objects.update_or_create(code=code, defaults={"original": self.file()})
