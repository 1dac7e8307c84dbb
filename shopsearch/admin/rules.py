"""The admin of rules of the house: edited with actions and pictures, tried in a preview, imported from CSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.files.base import ContentFile
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext_lazy as _

from shopsearch import broker, indexing, search
from shopsearch.admin.columns import thumbnail
from shopsearch.admin.csv_exchange import CSVAdmin
from shopsearch.admin.languages import language_field
from shopsearch.admin.product_picker import KeysField, picker
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError, ImageError, QueryError
from shopsearch.models import Collection, Rule, RuleAction, RulePicture
from shopsearch.models.rules import look_space
from shopsearch.registry import ImageIndex, find_index, get_index, get_indexes
from shopsearch.registry.keys import keys_from

if TYPE_CHECKING:  # generic for type checkers only: at run time these cannot be subscripted
    from PIL.Image import Image

    from shopsearch.search.request import SearchAnswer

    ActionsInline = admin.TabularInline[RuleAction, Rule]
    PicturesInline = admin.TabularInline[RulePicture, Rule]
    RuleModelForm = forms.ModelForm[Rule]
    PictureModelForm = forms.ModelForm[RulePicture]
    InlineFormSet = BaseInlineFormSet[Any, Any, Any]
else:
    InlineFormSet = BaseInlineFormSet
    RuleModelForm = PictureModelForm = forms.ModelForm
    ActionsInline = PicturesInline = admin.TabularInline

SHOWN = 12
"""How many results the preview shows, with the rule and without."""
ABOVE, BELOW = 24, 24
"""How many pictures the preview shows on either side of the line."""
LISTED = 3
"""How many products of an action the list of rules names."""
PICTURE_SIDE = 768
PRODUCTS = RuleAction._meta.get_field("products")


class RuleForm(RuleModelForm):
    class Meta:
        model = Rule
        exclude = ("threshold",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "index" not in self.fields:  # staff who may only look
            return
        names = [index.name for index in get_indexes()]
        if self.instance.index and self.instance.index not in names:
            names.append(self.instance.index)
        self.fields["index"] = forms.ChoiceField(
            label=_("Index"), choices=[(name, name) for name in names], initial=get_index().name
        )
        self.fields["language"] = language_field(self.instance.language)
        self.fields["filters"].widget.attrs["rows"] = 3
        for name in ("valid_from", "valid_until"):
            # One field with a label, where the admin has two without.
            widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
            self.fields[name] = forms.DateTimeField(
                label=self.fields[name].label, required=False, widget=widget
            )


class PictureForm(PictureModelForm):
    image = forms.FileField(
        label=_("Picture"),
        widget=forms.ClearableFileInput(attrs={"accept": "image/*", "aria-label": _("Picture")}),
    )

    class Meta:
        model = RulePicture
        fields = ("image",)

    def clean_image(self) -> Any:
        upload = self.cleaned_data["image"]
        if "image" not in self.changed_data:
            return upload
        from shopsearch import images

        content = images.jpeg(_decoded(upload), PICTURE_SIDE, quality=92)
        return ContentFile(content, f"{PurePath(upload.name).stem[:100]}.jpg")


def _decoded(upload: Any) -> Image:
    """The picture that staff upload, as shoppers' are read: within limits, and without the place of a camera."""
    from shopsearch import images

    try:
        return images.decode(upload.read(settings.MAX_IMAGE_BYTES + 1))
    except ImageError as error:
        raise forms.ValidationError(str(error)) from error


class LabelledFormSet(InlineFormSet):
    """A table of the admin has no labels, so its boxes for deleting say what they are."""

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if "DELETE" in form.fields:
            form.fields["DELETE"].widget.attrs["aria-label"] = _("Delete %(row)s") % {"row": form.instance}


class ActionInline(ActionsInline):
    model = RuleAction
    formset = LabelledFormSet
    extra = 1
    readonly_fields = ("titles",)

    def get_fields(self, request: HttpRequest, obj: Rule | None = None) -> Any:
        """A picker says what products are called by itself."""
        is_picked = isinstance(self.formfield_for_dbfield(PRODUCTS, request), KeysField)
        titles = [] if is_picked and self.has_change_permission(request, obj) else ["titles"]
        return ["kind", "products", *titles, "value", "place", "text", "address"]

    @admin.display(description=_("titles"))
    def titles(self, action: RuleAction) -> str:
        """What the products are called."""
        if not action.pk:
            return "–"
        titles = _titles_of(action.rule.index, action.keys)
        return ", ".join(titles.get(key) or _gone(key) for key in action.keys) or "–"

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is None:
            return None
        index = _only_index() if db_field.name == "products" else None
        chosen = picker(db_field, index, self.admin_site, request) if index is not None else None
        if chosen is not None:
            field = chosen
        elif db_field.name in ("products", "value", "text", "address"):
            field.widget = forms.TextInput()
        field.widget.attrs["aria-label"] = field.label  # a table of the admin has no labels
        return field


def _titles_of(index_name: str, keys: Iterable[str]) -> dict[str, str]:
    """By key what the products are called that there are; the key itself where the index is not declared any more."""
    index = find_index(index_name)
    if index is None:
        return {key: key for key in keys}
    model = index.product_model
    found = model._base_manager.using(index.database).in_bulk(keys_from(model, keys))
    return {str(key): index.title_of(product) for key, product in found.items()}


def _gone(key: str) -> str:
    return str(_("%(key)s: gone")) % {"key": key}


def _only_index() -> ImageIndex | None:
    """The index whose products a rule can name; None where there are several kinds: a form does not know which yet."""
    indexes = get_indexes()
    return get_index() if len({each.product_model for each in indexes}) == 1 else None


class PictureInline(PicturesInline):
    model = RulePicture
    form = PictureForm
    formset = LabelledFormSet
    extra = 1
    fields = ("image", "shown", "state")
    readonly_fields = ("shown", "state")
    verbose_name_plural = _("pictures of a rule by looks")

    @admin.display(description=_("as it is"))
    def shown(self, picture: RulePicture) -> str:
        if not picture.pk:
            return "–"
        return thumbnail(picture.image.url, PurePath(picture.image.name or "").stem)

    @admin.display(description=_("state"))
    def state(self, picture: RulePicture) -> str:
        if not picture.pk:
            return "–"
        if picture.error_of == picture.image.name:
            return picture.error
        live = _live(picture.rule)
        is_known = live is not None and look_space(live.space) in picture.vectors_by_space
        return str(_("has its vector") if is_known else _("waits for a worker"))


class PreviewForm(forms.Form):
    q = forms.CharField(label=_("Words"), required=False, max_length=1_000)
    picture = forms.FileField(
        label=_("A picture"), required=False, widget=forms.FileInput(attrs={"accept": "image/*"})
    )

    def clean_picture(self) -> Any:
        upload = self.cleaned_data["picture"]
        return _decoded(upload) if upload else None


class ThresholdForm(forms.Form):
    threshold = forms.FloatField(label=_("Threshold"), min_value=-1, max_value=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """A picture of the shop, and how alike it is to the rule's."""

    title: str
    picture: str
    score: float
    line: float
    """The threshold for which it is the last one that fires the rule."""
    fires: bool


class Listed:
    """What the list says of its rules: the shop is asked for all of them together."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules

    @cached_property
    def states(self) -> dict[Any, Rule.State]:
        return search.rules.states_of(self.rules)

    @cached_property
    def titles(self) -> dict[str, dict[str, str]]:
        """By index and key, of the first products of each action."""
        named: dict[str, list[str]] = {}
        for rule in self.rules:
            keys = named.setdefault(rule.index, [])
            keys.extend(key for action in rule.actions.all() for key in action.keys[:LISTED])
        return {index: _titles_of(index, keys) for index, keys in named.items()}

    def told(self, rule: Rule, action: RuleAction) -> str:
        if not action.keys:
            return str(action)
        titles = self.titles[rule.index]
        parts = [titles.get(key) or _gone(key) for key in action.keys[:LISTED]]
        more = len(action.keys) - LISTED
        if more > 0:
            parts.append(ngettext("%(count)d more", "%(count)d more", more) % {"count": more})
        return f"{action.get_kind_display()}: {', '.join(filter(None, (*parts, action.value)))}"


class RuleList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rules: list[Any] = list(self.result_list)
        listed = Listed(rules)
        for rule in rules:
            rule.listed = listed


def _listed(rule: Rule) -> Listed:
    """That of the whole list; of the rule alone on its own pages."""
    return getattr(rule, "listed", None) or Listed([rule])


class RuleAdmin(CSVAdmin):
    """Rules of the house, in force in every process a few seconds after they are saved."""

    form = RuleForm
    inlines = (ActionInline, PictureInline)
    list_display = ("name", "state_now", "fires_for", "does", "priority", "valid_until")
    list_filter = ("is_on", "trigger", "actions__kind")
    search_fields = ("name", "words", "actions__products", "actions__text", "actions__address")
    readonly_fields = ("state_now", "threshold_now")
    save_on_top = False
    csv_name = "rules.csv"
    import_title = _("Import rules")
    import_help = _(
        "UTF-8, as the export writes it: a line for each action. A rule of the same name is replaced but for its "
        "pictures and its threshold; others stay."
    )

    def get_fieldsets(self, request: HttpRequest, obj: Rule | None = None) -> Any:
        first = ["name", "index", "is_on"]
        return [
            (None, {"fields": [*first, "state_now"] if obj else first}),
            (_("When it fires"), {"fields": ["trigger", "words", *(["threshold_now"] if obj else [])]}),
            (
                _("Only for some searches"),
                {"fields": ["language", "filters", "valid_from", "valid_until", "priority"]},
            ),
        ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RuleList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rule]:
        return super().get_queryset(request).prefetch_related("actions", "pictures__vectors")

    @admin.display(description=_("state"))
    def state_now(self, rule: Rule) -> str:
        state = _listed(rule).states[rule.pk]
        colour = {Rule.State.IN_FORCE: "done", Rule.State.OFF: "none", Rule.State.EXPIRED: "none"}
        return format_html(
            '<span class="shopsearch-state shopsearch-state-{}">{}</span>',
            colour.get(state, "pending"),
            state.label,
        )

    @admin.display(description=_("fires for"), ordering="trigger")
    def fires_for(self, rule: Rule) -> str:
        return f"{rule.get_trigger_display()}: {rule.words}" if rule.words else rule.get_trigger_display()

    @admin.display(description=_("does"))
    def does(self, rule: Rule) -> str:
        return "; ".join(_listed(rule).told(rule, action) for action in rule.actions.all()) or "–"

    @admin.display(description=_("threshold"))
    def threshold_now(self, rule: Rule) -> str:
        if not rule.is_by_looks:
            return str(_("only rules by looks have one"))
        return "–" if rule.threshold is None else f"{rule.threshold:.3f}"

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        search.rules.forget()
        self._warn(request, form.instance)
        if form.instance.is_by_looks:
            broker.wake_after_commit(form.instance._state.db or "default")

    def _warn(self, request: HttpRequest, rule: Rule) -> None:
        """Say which actions are about a filter's value that no product has, such as a misspelt one."""
        index = find_index(rule.index)
        if index is None:
            return
        actions = rule.actions.filter(kind__in=RuleAction.OF_VALUES).exclude(value="")
        had = search.rules.values_had(index, [action.condition for action in actions])
        for action in actions:
            if action.condition not in had:
                text = _("No product of the shop has %(value)s: “%(action)s” moves nothing by it.")
                does = action.get_kind_display()
                messages.warning(request, text % {"value": action.value, "action": does})

    def get_urls(self) -> list[URLPattern]:
        preview = self.admin_site.admin_view(self.preview_view)
        return [path("<int:pk>/preview/", preview, name="shopsearch_rule_preview"), *super().get_urls()]

    def csv_of(self, request: HttpRequest) -> str:
        return search.rule_files.file_of(self.get_queryset(request))

    def csv_rows(self, content: bytes) -> Sequence[Any]:
        return search.rule_files.rules_of(content)

    def import_rows(self, request: HttpRequest, rows: Sequence[Any]) -> str:
        search.rule_files.save(rows)
        for rule, _actions in rows:
            self.log_change(request, rule, [{"changed": {"name": str(_("rule")), "object": "CSV"}}])
        search.rules.forget()
        text = ngettext("%(count)d rule was imported.", "%(count)d rules were imported.", len(rows))
        return text % {"count": len(rows)}

    # The preview

    def preview_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        rule = self.get_queryset(request).filter(pk=pk).first()
        if rule is None:
            raise Http404
        if not self.has_view_permission(request, rule):
            raise PermissionDenied
        may_change = self.has_change_permission(request, rule)
        live = _live(rule)
        if "threshold" in request.POST:
            return self._set_threshold(request, rule, live, may_change=may_change)
        is_asked = request.method == "POST"
        form = PreviewForm(request.POST if is_asked else None, request.FILES if is_asked else None)
        context: dict[str, Any] = {
            "title": _("Preview: %(rule)s") % {"rule": rule},
            "rule": rule,
            "form": form,
            "state": self.state_now(rule),
            "may_change": may_change,
        }
        words = rule.alternatives[0] if rule.alternatives else ""
        if not is_asked:
            form.initial = {"q": words}
        try:
            if rule.is_by_looks and live is not None:
                context |= _line(rule, live)
            if is_asked and form.is_valid():
                context |= _compared(rule, live, form.cleaned_data["q"], form.cleaned_data["picture"])
            elif not is_asked and words:
                context |= _compared(rule, live, words, None)
        except (BackendError, QueryError) as error:
            context["error"] = str(error)
        return self.page(request, "admin/shopsearch/rule/preview.html", context)

    def _set_threshold(
        self, request: HttpRequest, rule: Rule, live: Collection | None, *, may_change: bool
    ) -> HttpResponse:
        if not may_change:
            raise PermissionDenied
        form = ThresholdForm(request.POST)
        if form.is_valid() and live is not None:
            rule.threshold, rule.threshold_space = (
                round(form.cleaned_data["threshold"], 4),
                look_space(live.space),
            )
            rule.save(update_fields=["threshold", "threshold_space"])
            search.rules.forget()
            self.log_change(request, rule, [{"changed": {"fields": [str(_("threshold"))]}}])
            text = _("The rule fires for pictures that are at least %(threshold)s alike.")
            messages.success(request, text % {"threshold": f"{rule.threshold:.3f}"})
        else:
            messages.error(request, _("Write a number from -1 to 1."))
        return HttpResponseRedirect(self.url_of("preview", rule.pk))


def _live(rule: Rule) -> Collection | None:
    index = find_index(rule.index)
    return Collection.objects.of(index).live().first() if index else None


def _compared(rule: Rule, live: Collection | None, words: str, picture: Any) -> dict[str, Any]:
    """The first results without any rule, and with this one alone, whether or not it is in force.

    Raises BackendError and QueryError.
    """
    tried = search.rules.rule_of(rule, live.space) if live else None
    tried = tried and replace(tried, valid_from=None, valid_until=None)
    asked = search.request.SearchRequest(
        text=words,
        examples=search.examples.of_picture(picture),
        index=rule.index,
        language=rule.language or get_language() or "",
        filters={each.field: list(each.values) for each in rule.conditions},
        limit=min(SHOWN, settings.MAX_PAGE_SIZE),
        rules=(),
    )
    before = search.engine.answer(asked)
    after = search.engine.answer(replace(asked, rules=[tried] if tried else []))
    return {
        "score": _score(tried, picture),
        "fires": bool(after.rules),
        "banner": after.banner,
        "redirect": after.redirect,
        "columns": [(_("Without the rule"), _cards(before)), (_("With the rule"), _cards(after))],
    }


def _score(rule: search.rules.Rule | None, picture: Any) -> float | None:
    """How alike the picture is to the rule's; None without one. Raises BackendError."""
    if rule is None or rule.look is None or picture is None:
        return None
    from shopsearch import images
    from shopsearch.backends import get_query_embedder

    look = indexing.rule_pictures.look_of(images.normalised(picture), get_query_embedder(rule.space))
    return float(rule.look @ look)


def _cards(found: SearchAnswer) -> Sequence[dict[str, Any]]:
    index = found.index
    return [
        {
            "rank": result.rank,
            "key": result.product.pk,
            "title": index.title_of(result.product),
            "picture": "" if result.image is None else index.picture_url_of(result.image),
            "is_placed": bool(result.rule),
        }
        for result in found.results
    ]


def _line(rule: Rule, live: Collection) -> dict[str, Any]:
    """The shop's pictures around the threshold, the most alike first. Raises BackendError."""
    look, index = rule.look_in(live.space), find_index(rule.index)
    if look is None or index is None:
        return {}
    scores = indexing.rule_pictures.likenesses(live, look)
    threshold = rule.threshold_in(live.space)
    fired = 0 if threshold is None else sum(score >= threshold for _image, score in scores)
    shown = scores[max(0, fired - ABOVE) : fired + (BELOW if fired else ABOVE + BELOW)]
    images = _shown_images(index, [image for image, _score in shown])
    following = dict(zip((image for image, _ in scores), (score for _, score in scores[1:]), strict=False))
    alike = [
        Alike(
            title=index.title_of(index.get_product(images[image])),
            picture=index.picture_url_of(images[image]),
            score=score,
            line=round((score + following.get(image, score)) / 2, 4),
            fires=threshold is not None and score >= threshold,
        )
        for image, score in shown
        if image in images
    ]
    return {
        "threshold": threshold,
        "fired": fired,
        "looked_at": len(scores),
        "alike": [each for each in alike if each.fires],
        "others": [each for each in alike if not each.fires],
    }


def _shown_images(index: ImageIndex, keys: Sequence[str]) -> dict[str, Any]:
    rows = index.get_queryset().filter(pk__in=keys_from(index.model, keys))
    return {str(row.pk): row for row in rows if index.product_of(row) is not None}
