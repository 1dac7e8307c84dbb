"""What the collections hold of an image: rows of their own instead of JSON in its entry. Nothing is indexed again."""

import django.db.models.deletion
from django.db import migrations, models

CHUNK = 2_000


def rows_from_json(apps, schema_editor):
    """``held`` was ``{str(collection's key): [image hash, fields hash], or null while it is written}``.

    A collection that was rolled back to has a second key, ``formerly``: what entries held under that one is of the
    generation before.
    """
    alias = schema_editor.connection.alias
    StoredImage = apps.get_model("shopsearch", "StoredImage")
    known = {}
    for collection in apps.get_model("shopsearch", "Collection").objects.using(alias):
        known[str(collection.pk)] = (collection.pk, collection.generation)
        if collection.formerly is not None:
            collection.generation += 1
            collection.save(update_fields=["generation"])
            known[str(collection.formerly)] = known[str(collection.pk)]
            known[str(collection.pk)] = (collection.pk, collection.generation)
    for entries in in_chunks(apps.get_model("shopsearch", "IndexEntry").objects.using(alias).only("held")):
        rows = {}
        for entry in entries:
            # In the order of generations, so that the latest one stays.
            for key in sorted(entry.held.keys() & known.keys(), key=known.get):
                collection, generation = known[key]
                image_hash, fields_hash = entry.held[key] or ("", "")
                rows[entry.pk, collection] = StoredImage(
                    entry_id=entry.pk,
                    collection_id=collection,
                    generation=generation,
                    image_hash=image_hash,
                    fields_hash=fields_hash,
                )
        StoredImage.objects.using(alias).bulk_create(rows.values())


def json_from_rows(apps, schema_editor):
    alias = schema_editor.connection.alias
    generations = dict(
        apps.get_model("shopsearch", "Collection").objects.using(alias).values_list("pk", "generation")
    )
    IndexEntry = apps.get_model("shopsearch", "IndexEntry")
    for entries in in_chunks(IndexEntry.objects.using(alias).prefetch_related("stored")):
        for entry in entries:
            # Of an older generation nothing is kept: those images are looked at by the rollback that is under way.
            entry.held = {
                str(row.collection_id): [row.image_hash, row.fields_hash] if row.image_hash else None
                for row in entry.stored.all()
                if row.generation == generations.get(row.collection_id)
            }
        IndexEntry.objects.using(alias).bulk_update(entries, ["held"], batch_size=200)


def in_chunks(queryset):
    last = 0
    while chunk := list(queryset.filter(pk__gt=last).order_by("pk")[:CHUNK]):
        yield chunk
        last = chunk[-1].pk


class Migration(migrations.Migration):
    dependencies = [("shopsearch", "0007_kept_vectors")]
    operations = [
        migrations.AddField(
            model_name="collection",
            name="generation",
            field=models.PositiveIntegerField(default=1, editable=False, verbose_name="generation"),
        ),
        migrations.CreateModel(
            name="StoredImage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("generation", models.PositiveIntegerField(verbose_name="generation")),
                ("image_hash", models.CharField(blank=True, max_length=64, verbose_name="image hash")),
                ("fields_hash", models.CharField(blank=True, max_length=64, verbose_name="fields hash")),
                (
                    "entry",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="stored",
                        to="shopsearch.indexentry",
                    ),
                ),
                (
                    "collection",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="shopsearch.collection",
                    ),
                ),
            ],
            options={
                "verbose_name": "stored image",
                "verbose_name_plural": "stored images",
                "constraints": [
                    models.UniqueConstraint(fields=("collection", "entry"), name="shopsearch_stored_unique")
                ],
            },
        ),
        migrations.RunPython(rows_from_json, json_from_rows),
        migrations.RemoveField(model_name="collection", name="formerly"),
        migrations.RemoveField(model_name="indexentry", name="held"),
        migrations.RenameModel(old_name="KeptVector", new_name="CachedVector"),
        migrations.AlterModelOptions(
            name="cachedvector",
            options={"verbose_name": "cached vector", "verbose_name_plural": "cached vectors"},
        ),
    ]
