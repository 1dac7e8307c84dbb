from modeltranslation.translator import TranslationOptions, register

from .models import Kind, Lamp


@register(Kind)
class KindOptions(TranslationOptions):
    fields = ("name",)


@register(Lamp)
class LampOptions(TranslationOptions):
    fields = ("title", "material")
