"""A shop in English and Spanish, with products translated by django-modeltranslation and by django-parler."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as BEFORE

INSTALLED_APPS = [
    "modeltranslation",
    "parler",
    *(app for app in BEFORE if app != "tests.shop"),
    "tests.projects.translated",
]
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("es", "Spanish")]
PARLER_LANGUAGES = {None: ({"code": "en"}, {"code": "es"})}
SHOPSEARCH_PRODUCT_IMAGE_MODEL = "translated.LampImage"
MIDDLEWARE = ["django.middleware.locale.LocaleMiddleware"]
del SHOPSEARCH_PRODUCT_MODEL  # noqa: F821
