import uuid

import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Now

from shopsearch.models import PRODUCT_MODEL


class Migration(migrations.Migration):
    initial = True
    # PRODUCT_MODEL follows a setting, as AUTH_USER_MODEL does: its app's first migration has to come first.
    dependencies = [migrations.swappable_dependency(PRODUCT_MODEL)]
    operations = [
        migrations.CreateModel(
            name="IndexEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("index", models.CharField(max_length=100, verbose_name="index")),
                ("image_id", models.CharField(max_length=255, verbose_name="image")),
                ("version", models.UUIDField(default=uuid.uuid4, editable=False, verbose_name="version")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("claimed", "claimed"),
                            ("indexed", "indexed"),
                            ("failed", "failed"),
                            ("deleting", "deleting"),
                        ],
                        default="pending",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("available_at", models.DateTimeField(db_default=Now(), verbose_name="available at")),
                ("claim", models.UUIDField(editable=False, null=True, verbose_name="claim")),
                ("attempts", models.PositiveIntegerField(default=0, verbose_name="attempts")),
                ("error", models.TextField(blank=True, verbose_name="error")),
                ("image_hash", models.CharField(blank=True, max_length=64, verbose_name="image hash")),
                ("fields_hash", models.CharField(blank=True, max_length=64, verbose_name="fields hash")),
                ("collection", models.CharField(blank=True, max_length=255, verbose_name="collection")),
                ("changed_at", models.DateTimeField(db_default=Now(), verbose_name="changed at")),
                ("indexed_at", models.DateTimeField(blank=True, null=True, verbose_name="indexed at")),
            ],
            options={
                "verbose_name": "index entry",
                "verbose_name_plural": "index entries",
                "permissions": (("reindex", "Can reindex images"),),
                "indexes": [models.Index(fields=["state", "available_at"], name="shopsearch_entry_due")],
                "constraints": [
                    models.UniqueConstraint(fields=("index", "image_id"), name="shopsearch_entry_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="ProductImage",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("image", models.ImageField(max_length=255, upload_to="products/%Y/%m/", verbose_name="image")),
                ("alternative_text", models.CharField(blank=True, max_length=255, verbose_name="alternative text")),
                ("position", models.PositiveIntegerField(default=0, verbose_name="position")),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                (
                    "product",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="images",
                        to=PRODUCT_MODEL,
                        verbose_name="product",
                    ),
                ),
            ],
            options={
                "verbose_name": "product image",
                "verbose_name_plural": "product images",
                "ordering": ("position", "pk"),
                "abstract": False,
                "swappable": "SHOPSEARCH_PRODUCT_IMAGE_MODEL",
            },
        ),
    ]
