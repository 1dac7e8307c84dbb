"""The filters of a category's page."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from .models import Product

ORDERS = {
    "": ("pk", _("Featured")),
    "price": ("price", _("Price: low to high")),
    "-price": ("-price", _("Price: high to low")),
    "title": ("title", _("Name")),
}


class ProductFilterForm(forms.Form):
    """What a shopper may narrow a category's products by; a value that makes no sense is no filter."""

    colour = forms.ChoiceField(label=_("Colour"), required=False)
    price_from = forms.DecimalField(label=_("From"), required=False, min_value=0)
    price_to = forms.DecimalField(label=_("To"), required=False, min_value=0)
    in_stock = forms.BooleanField(label=_("In stock only"), required=False)
    order = forms.ChoiceField(
        label=_("Sort by"), required=False, choices=[(key, label) for key, (_field, label) in ORDERS.items()]
    )

    def __init__(self, *args: Any, products: QuerySet[Product], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.products = products
        colours = products.exclude(colour="").order_by("colour").values_list("colour", flat=True).distinct()
        choices = [("", _("All colours")), *((colour, colour.capitalize()) for colour in colours)]
        cast(forms.ChoiceField, self.fields["colour"]).choices = choices
        for name in ("price_from", "price_to"):
            self.fields[name].widget.attrs |= {"inputmode": "decimal", "step": "0.01", "placeholder": "$"}

    def narrow(self) -> QuerySet[Product]:
        self.is_valid()
        wanted = self.cleaned_data
        products = self.products
        if wanted.get("colour"):
            products = products.filter(colour=wanted["colour"])
        if wanted.get("price_from") is not None:
            products = products.filter(price__gte=wanted["price_from"])
        if wanted.get("price_to") is not None:
            products = products.filter(price__lte=wanted["price_to"])
        if wanted.get("in_stock"):
            products = products.filter(stock__gt=0)
        field, _label = ORDERS[wanted.get("order", "")]
        return products.order_by(field, "pk")

    @property
    def is_narrowed(self) -> bool:
        """Whether there is anything to clear."""
        return any(self.data.get(name) for name in self.fields)
