"""Products chosen by typing: Django's own autocomplete, where the shop's admin lets staff search its products."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin import AdminSite
from django.contrib.admin.widgets import AutocompleteSelectMultiple
from django.http import HttpRequest
from django.utils.text import capfirst

from shopsearch.models import RuleAction
from shopsearch.registry import ImageIndex


def picker(field: Any, index: ImageIndex, site: AdminSite, request: HttpRequest) -> forms.Field | None:
    """A field for ``RuleAction.products``; None where staff cannot search the index's products in this admin.

    They can where the products' model is registered with ``search_fields``, and they may view it.
    """
    model_admin = site._registry.get(index.product_model)
    if model_admin is None or not index.product_field:
        return None
    if not (model_admin.get_search_fields(request) and model_admin.has_view_permission(request)):
        return None
    return KeysField(
        queryset=index.product_model._base_manager.using(index.database).all(),
        widget=OrderedSelect(index.model._meta.get_field(index.product_field), site, using=index.database),
        label=capfirst(field.verbose_name),
        required=False,
    )


class OrderedSelect(AutocompleteSelectMultiple):
    """Shows what is chosen in the order in which it was chosen: the first one has the place of a pin."""

    @property
    def media(self) -> forms.Media:
        after = ("admin/js/jquery.init.js", "admin/js/autocomplete.js")
        return super().media + forms.Media(js=(*after, "shopsearch/picker.js"))

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        places = {key: place for place, key in enumerate(value)}
        groups = super().optgroups(name, value, attr)
        for _name, options, _index in groups:
            options.sort(key=lambda option: places.get(str(option["value"]), len(places)))
        return groups


class KeysField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # not generic at run time
    """Products as their keys, separated by commas, in the order in which they were chosen.

    A product that is gone meanwhile stays until it is taken out, so that staff can save the rest.
    """

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str):
            value = RuleAction(products=value).keys
        return [str(each) for each in value or ()]

    def clean(self, value: Any) -> Any:
        return ", ".join(dict.fromkeys(map(str, value or ())))  # RuleAction.clean says which there are not

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.prepare_value(initial) != self.prepare_value(data))
