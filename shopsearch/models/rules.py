"""Rules of the house: what staff say that some searches answer, edited in the admin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shopsearch import registry
from shopsearch.conf import settings
from shopsearch.exceptions import FilterError
from shopsearch.filters import AnyOf, conditions, parse
from shopsearch.registry import analyzer
from shopsearch.registry.keys import keys_from

if TYPE_CHECKING:
    from shopsearch.types import Vector

MAX_PRODUCTS = 100
"""Of one action."""
MAX_PLACE = 1_000


class Rule(models.Model):
    """When a rule fires; its actions say what happens then."""

    class Trigger(models.TextChoices):
        CONTAINS = "contains", _("words that contain these")
        EXACT = "exact", _("exactly these words")
        LOOKS = "looks", _("a picture that looks like the rule's pictures")
        ANY = "any", _("every search")

    class State(models.TextChoices):
        """Whether searches follow it, and if not, why: ``shopsearch.search.rules.states_of``."""

        IN_FORCE = "in force", _("in force")
        OFF = "off", _("off")
        PLANNED = "planned", _("not yet valid")
        EXPIRED = "expired", _("expired")
        UNDECLARED = "undeclared", _("its index or a filter is not declared any more")
        WITHOUT_ACTIONS = "without actions", _("has no actions")
        WITHOUT_PRODUCTS = "without products", _("the shop shows none of its products")
        WITHOUT_VALUE = "without value", _("no product has its filter's value")
        WITHOUT_WORDS = "without words", _("its words are too common to search for")
        WITHOUT_PICTURES = "without pictures", _("waiting for pictures")
        WITHOUT_VECTORS = "without vectors", _("waiting for vectors")
        WITHOUT_THRESHOLD = "without threshold", _("waiting for a threshold")

    name = models.CharField(
        _("name"), max_length=100, unique=True, help_text=_("Answers of the API name the rule by it.")
    )
    index = models.CharField(
        _("index"), max_length=100, help_text=_("The images that are searched, as the shop declares them.")
    )
    is_on = models.BooleanField(_("on"), default=True)
    priority = models.IntegerField(
        _("priority"),
        default=0,
        help_text=_("If two rules disagree about a product or a place, the higher number counts."),
    )
    valid_from = models.DateTimeField(_("valid from"), null=True, blank=True)
    valid_until = models.DateTimeField(_("valid until"), null=True, blank=True)
    trigger = models.CharField(
        _("fires for"), max_length=10, choices=Trigger.choices, default=Trigger.CONTAINS
    )
    words = models.CharField(
        _("words"),
        max_length=500,
        blank=True,
        help_text=_(
            'What shoppers type, such as "running shoes"; several alternatives are separated by commas. Capitals, '
            "accents, the order and endings such as plurals do not matter."
        ),
    )
    language = models.CharField(
        _("language"),
        max_length=10,
        blank=True,
        help_text=_("Only for searches in this language; empty for all."),
    )
    filters = models.TextField(
        _("chosen filters"),
        blank=True,
        help_text=_(
            'Only for searches with these filters, one on each line, such as "category=mugs". Of one filter, any of '
            "the values is enough."
        ),
    )
    threshold = models.FloatField(
        _("threshold"),
        null=True,
        blank=True,
        validators=[MinValueValidator(-1), MaxValueValidator(1)],
        help_text=_(
            "How alike a picture has to be for the rule to fire, from -1 to 1. Set it in the preview."
        ),
    )
    threshold_space = models.CharField(_("threshold set for"), max_length=255, blank=True, editable=False)
    """The ``look_space`` that the threshold was set in: scores of another model mean something else."""

    class Meta:
        verbose_name = _("rule")
        verbose_name_plural = _("rules")
        ordering = ("-priority", "name")

    def __str__(self) -> str:
        return self.name

    @property
    def is_by_looks(self) -> bool:
        return self.trigger == self.Trigger.LOOKS

    @property
    def alternatives(self) -> list[str]:
        """The words, one text for each alternative."""
        return [text for each in self.words.split(",") if (text := " ".join(each.split()))]

    @property
    def conditions(self) -> tuple[AnyOf, ...]:
        """Raises FilterError for filters that the index does not have, and for values that they cannot have."""
        values: dict[str, list[str]] = {}
        for line in self.filters.splitlines():
            name, is_said, value = line.partition("=")
            if line.strip() and not (is_said and value.strip()):
                raise FilterError(gettext("Write each filter as name=value, such as category=mugs."))
            if line.strip():
                values.setdefault(name.strip(), []).append(value.strip())
        found = registry.find_index(self.index)
        parsed = parse(values, found.filter_types if found else {})
        return tuple(each for each in conditions(parsed) if isinstance(each, AnyOf))

    @property
    def has_words(self) -> bool:
        """Whether searches say its words, in its language or in one of its index's.

        Search passes over words such as "the" beside others, so "the" fires for no search that contains it.
        """
        if self.trigger != self.Trigger.CONTAINS:
            return True
        index = registry.find_index(self.index)
        own = (analyzer.known_language(self.language),) if self.language else ()
        return any(
            not all(analyzer.is_stop_word(word, language) for word in analyzer.plain(text).split())
            for text in self.alternatives
            for language in own or (index.words_languages if index else ("",))
        )

    def look_in(self, space: str) -> Vector | None:
        """What its pictures look like together, to searches in this space: see ``look_by``."""
        return self.look_by(look_space(space))

    def look_by(self, looks: str) -> Vector | None:
        """The mean of its pictures' vectors of this name. None unless all have one and it is by looks.

        The mean, since what the pictures share is the theme; nearness to any one of them also takes its colours.
        """
        if not self.is_by_looks:
            return None
        vectors = [picture.vectors_by_space.get(looks) for picture in self.pictures.all()]
        known = [vector for vector in vectors if vector is not None]
        return mean_of(known) if known and len(known) == len(vectors) else None

    def threshold_in(self, space: str) -> float | None:
        """The threshold for searches in this space; None where it was set for another."""
        return self.threshold if self.threshold_space == look_space(space) else None

    def clean(self) -> None:
        errors: dict[str, Any] = {}
        if registry.find_index(self.index) is None:
            known = ", ".join(index.name for index in registry.get_indexes())
            errors["index"] = _("There is no index %(name)r; use one of: %(known)s.") % {
                "name": self.index,
                "known": known,
            }
        if self.trigger in (self.Trigger.EXACT, self.Trigger.CONTAINS):
            if not self.alternatives or not all(map(analyzer.plain, self.alternatives)):
                errors["words"] = _("Write the words for which the rule fires.")
            elif not self.has_words:
                errors["words"] = _("Search passes over words that are in every text. Write others as well.")
        else:
            self.words = ""
        try:
            if "index" not in errors:
                _checked = self.conditions
        except FilterError as error:
            errors["filters"] = str(error)
        if self.valid_from and self.valid_until and self.valid_from >= self.valid_until:
            errors["valid_until"] = _("This has to be later than “valid from”.")
        if errors:
            raise ValidationError(errors)


class RuleAction(models.Model):
    """One thing that happens when the rule fires."""

    class Kind(models.TextChoices):
        PIN = "pin", _("pin to a place")
        BOOST = "boost", _("move up")
        BURY = "bury", _("move to the end")
        HIDE = "hide", _("hide")
        BANNER = "banner", _("show a banner")
        REDIRECT = "redirect", _("lead to an address")

    OF_PRODUCTS = (Kind.PIN, Kind.BOOST, Kind.BURY, Kind.HIDE)
    OF_VALUES = (Kind.BOOST, Kind.BURY)
    """What may be done to all products that have a filter's value."""

    rule = models.ForeignKey(Rule, models.CASCADE, related_name="actions", verbose_name=_("rule"))
    kind = models.CharField(_("action"), max_length=10, choices=Kind.choices, default=Kind.PIN)
    products = models.TextField(
        _("products"),
        blank=True,
        help_text=_("Their keys, separated by commas: the number in the address of a product's admin page."),
    )
    value = models.CharField(
        _("filter's value"),
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text=_(
            'To move all products with this value of a filter up, or to the end: such as "brand=Kerb" or '
            '"in_stock=no". What is said of a single product counts before it.'
        ),
    )
    place = models.PositiveSmallIntegerField(
        _("place"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_PLACE)],
        help_text=_(
            "Pin: the place of the first product, the others follow; 1 unless given. Move up: by how many places; 10 "
            "unless given."
        ),
    )
    text = models.CharField(_("text"), max_length=300, blank=True, help_text=_("Of the banner."))
    address = models.CharField(
        _("address"),
        max_length=500,
        blank=True,
        help_text=_("Where the banner or the search leads to: a page of this shop, such as /sale/."),
    )

    class Meta:
        verbose_name = _("action")
        verbose_name_plural = _("actions")
        ordering = ("pk",)

    def __str__(self) -> str:
        what = self.text or self.address
        if self.kind in self.OF_PRODUCTS:
            what = ", ".join(filter(None, (self.products, self.value)))
        return f"{self.get_kind_display()}: {what}"

    @property
    def keys(self) -> list[str]:
        """The products' keys as they are written, each once."""
        return [text for text in dict.fromkeys(map(str.strip, re.split(r"[,\n]", self.products))) if text]

    def clean(self) -> None:
        errors: dict[str, Any] = {}
        if self.kind not in self.OF_VALUES:
            self.value = ""
        try:
            if self.value and registry.find_index(self.rule.index) is not None:
                _checked = self.condition
        except FilterError as error:
            errors["value"] = str(error)
        if self.kind in self.OF_PRODUCTS:
            if problem := self._problem_of_products():
                errors["products"] = problem
        else:
            self.products = ""
        if self.kind not in (self.Kind.PIN, self.Kind.BOOST):
            self.place = None
        if self.kind == self.Kind.BANNER and not self.text.strip():
            errors["text"] = _("Write what the banner says.")
        if self.kind != self.Kind.BANNER:
            self.text = ""
        if self.kind not in (self.Kind.BANNER, self.Kind.REDIRECT):
            self.address = ""
        elif (self.address or self.kind == self.Kind.REDIRECT) and not is_allowed(self.address):
            errors["address"] = _(
                "Use an address of this shop that begins with /, or one on a host that the setting RULE_HOSTS allows."
            )
        if errors:
            raise ValidationError(errors)

    @property
    def condition(self) -> AnyOf:
        """What products have for which ``value`` is meant. Raises FilterError where the index has no such filter."""
        name, is_said, value = (part.strip() for part in self.value.partition("="))
        if not (name and is_said and value):
            raise FilterError(gettext("Write each filter as name=value, such as category=mugs."))
        found = registry.find_index(self.rule.index)
        parsed = parse({name: [value]}, found.filter_types if found else {})
        if not isinstance(parsed, AnyOf):
            raise FilterError(gettext("Write each filter as name=value, such as category=mugs."))
        return parsed

    def _problem_of_products(self) -> Any:
        if self.value and not self.keys:
            return None
        if not self.keys:
            return _("Name at least one product.")
        if len(self.keys) > MAX_PRODUCTS:
            return _("An action takes up to %(most)s products.") % {"most": MAX_PRODUCTS}
        index = registry.find_index(self.rule.index)
        if index is None:
            return None
        model = index.product_model
        known = model._base_manager.using(index.database).filter(pk__in=keys_from(model, self.keys))
        existing = {str(key) for key in known.values_list("pk", flat=True)}
        unknown = [key for key in self.keys if key not in existing]
        if unknown:
            return _("The shop has no such product: %(keys)s.") % {"keys": ", ".join(unknown[:5])}
        return None


class RulePicture(models.Model):
    """What pictures look like that the rule fires for."""

    rule = models.ForeignKey(Rule, models.CASCADE, related_name="pictures", verbose_name=_("rule"))
    image = models.ImageField(_("picture"), upload_to="shopsearch/rules/", max_length=255)
    error = models.TextField(_("error"), blank=True, editable=False)
    """Why the file has no vector: a file that cannot be read is not tried again until it is replaced."""
    error_of = models.CharField(max_length=255, blank=True, editable=False)
    """The name of the file that the error is about."""

    class Meta:
        verbose_name = _("picture")
        verbose_name_plural = _("pictures")
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.image.name or ""

    @property
    def vectors_by_space(self) -> dict[str, Vector]:
        """Of the file that it has now."""
        return {each.space: each.vector for each in self.vectors.all() if each.file == self.image.name}


class RuleVector(models.Model):
    """What a rule's picture looks like to one model; workers write it."""

    picture = models.ForeignKey(RulePicture, models.CASCADE, related_name="vectors")
    space = models.CharField(max_length=255)
    """The ``look_space``."""
    file = models.CharField(max_length=255)
    """The name of the file that was embedded, so that the vector of a replaced file is never used."""
    numbers = models.BinaryField()
    """float32, little-endian."""

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("picture", "space"), name="shopsearch_rulevector_unique"),
        )

    def __str__(self) -> str:
        return f"{self.file} {self.space}"

    @property
    def vector(self) -> Vector:
        import numpy as np

        return np.frombuffer(self.numbers, "<f4").astype(np.float32)


def look_space(space: str) -> str:
    """The name of what pictures look like to rules, in this space: of a whole picture and its middle together.

    Vectors and thresholds that an earlier version made of whole pictures alone have the space's own name.
    """
    return f"{space}+middle"


def mean_of(vectors: Sequence[Vector]) -> Vector:
    """Their mean, of unit length."""
    import numpy as np

    mean = np.mean(vectors, axis=0)
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length else vectors[0], np.float32)


def is_allowed(address: str) -> bool:
    """Whether a rule may lead there: a page of this shop, or an address on a host of SHOPSEARCH["RULE_HOSTS"]."""
    # A line break cannot be in a header, and browsers pass over such characters: "/\t/other.example" is another site.
    if not (address.isprintable() and address.startswith(("/", "http://", "https://"))):
        return False
    return url_has_allowed_host_and_scheme(address, allowed_hosts=set(settings.RULE_HOSTS))
