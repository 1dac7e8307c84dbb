"""What a shopper sees in each language: printed by name, as JSON."""

import json

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import translation  # noqa: E402

from shopsearch.testing import index_saved, picture  # noqa: E402
from tests.projects.translated.models import Kind, Lamp, LampImage, Vase, VaseImage  # noqa: E402

call_command("check", fail_level="ERROR", tags=["shopsearch"], verbosity=0)
call_command("migrate", verbosity=0, run_syncdb=True)
client = Client()
SEEN = {}


def seen(index, language, **parameters):
    answer = client.get(
        "/api/search/", {"index": index, "facets": "*", **parameters}, HTTP_ACCEPT_LANGUAGE=language
    )
    assert answer.status_code == 200, answer.content
    return answer.json()


def first(index, text):
    return [each["product"]["id"] for each in seen(index, "en", q=text)["results"]][:1]


# Whoever saves and whoever indexes may have either language.
with translation.override("es"):
    kind = Kind.objects.create(slug="desk", name_en="Desk lamps", name_es="Flexos")
    lamp = Lamp.objects.create(
        title_en="Bent arm", title_es="Brazo curvo", material_en="brass", material_es="latón", kind=kind
    )
    other = Lamp.objects.create(
        title_en="Globe", title_es="Globo", material_en="glass", material_es="vidrio", kind=kind
    )
    vases = []
    for titles, glazes in (
        (("Jug", "Jarra"), ("white", "blanco")),
        (("Bowl", "Cuenco"), ("black", "negro")),
    ):
        vase = Vase.objects.language("en").create(title=titles[0], glaze=glazes[0])
        vase.create_translation("es", title=titles[1], glaze=glazes[1])
        vases.append(vase)
    for model, products in ((LampImage, (lamp, other)), (VaseImage, vases)):
        for product in products:
            model.objects.create(product=product, image=picture("red"))
    index_saved()

for language in ("en", "es"):
    lamps, pots = (
        seen("translated_lampimage", language, q="red"),
        seen("translated_vaseimage", language, q="red"),
    )
    material, glaze = lamps["facets"]["material"]["values"], pots["facets"]["glaze"]["values"]
    SEEN[language] = {
        "materials": [each["value"] for each in material],
        "glazes": [each["value"] for each in glaze],
        "labels of glazes": [each["label"] for each in glaze],
        "labels of kinds": [each["label"] for each in lamps["facets"]["kind"]["values"]],
        "found by each material": [
            len(seen("translated_lampimage", language, q="red", material=each["value"])["results"])
            for each in material
        ],
        "found by each glaze": [
            len(seen("translated_vaseimage", language, q="red", glaze=each["value"])["results"])
            for each in glaze
        ],
        "titles": sorted(each["product"]["title"] for each in lamps["results"] + pots["results"]),
    }
SEEN["by words"] = {
    text: first(index, text) == [product.pk]
    for index, text, product in (
        ("translated_lampimage", "globe", other),
        ("translated_lampimage", "globo", other),
        ("translated_vaseimage", "bowl", vases[1]),
        ("translated_vaseimage", "cuenco", vases[1]),
    )
}
print(json.dumps(SEEN))
