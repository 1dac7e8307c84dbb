"""The admin of queries to judge: their list, and the page where their results are graded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.conf import settings as django_settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext_lazy as _

from shopsearch import evaluation
from shopsearch.admin.columns import breakable, thumbnail
from shopsearch.admin.pages import OwnAdmin
from shopsearch.conf import settings
from shopsearch.exceptions import ImageError
from shopsearch.models import EvaluationQuery, Judgement
from shopsearch.registry import get_indexes

SHOWN_SIDE = 480
"""The longest side, in pixels, of a query's picture as staff see it."""
GRADE, BEFORE = "grade-", "before-"
"""Prefixes of a product's id: the form fields of its grade, and of the grade that the form began with."""


class LanguageFilter(admin.AllValuesFieldListFilter):
    """A filter whose link for queries without a language has a name, too."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            yield {**choice, "display": choice["display"] or _("(none)")}


class QueryForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """A query as staff write it: words, a picture, or both."""

    upload = forms.FileField(
        label=_("Upload a picture"), required=False, widget=forms.FileInput(attrs={"accept": "image/*"})
    )

    class Meta:
        model = EvaluationQuery
        fields = ("index", "text", "language")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "index" in self.fields:  # not where the query is judged already
            names = [(index.name, index.name) for index in get_indexes()]
            self.fields["index"] = forms.ChoiceField(label=_("Index"), choices=names)
            self.fields["text"].widget.attrs["class"] = "vLargeTextField"
        languages = [("", "–"), *django_settings.LANGUAGES]
        self.fields["language"] = forms.ChoiceField(label=_("Language"), choices=languages, required=False)
        self.fields["language"].initial = get_language()

    def clean_upload(self) -> bytes | None:
        upload = self.cleaned_data.get("upload")
        if upload is None:
            return None
        from shopsearch import images

        content: bytes = upload.read(settings.MAX_IMAGE_BYTES + 1)
        try:
            # Like a shopper's picture: no larger, and without the location that a camera records in it.
            picture = images.normalised(images.decode(content))
            return images.jpeg(picture, settings.QUERY_IMAGE_SIDE, quality=95)
        except ImageError as error:
            raise forms.ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors or "text" not in self.fields:
            return cleaned
        picture = self.cleaned_data["upload"] or self.instance.picture
        if not cleaned["text"].strip() and not picture:
            raise forms.ValidationError(_("Write some words, choose a picture, or both."))
        key = EvaluationQuery.key_of(cleaned["index"], cleaned["text"], picture)
        if EvaluationQuery.objects.filter(key=key).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(_("This query exists already."))
        self.instance.picture = picture
        return cleaned


class JudgedFilter(admin.SimpleListFilter):
    title = _("judged")
    parameter_name = "judged"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("no", _("not yet")), ("yes", _("judged"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = {"no": Q(judged=0), "yes": Q(judged__gt=0)}.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(chosen)


class EvaluationQueryAdmin(OwnAdmin):
    """Queries for evaluation. Staff with the permission "Can judge results" grade the results of each."""

    form = QueryForm
    list_display = ("asked", "judged", "times", "source", "language", "index_name")
    list_display_links = None
    list_filter = (JudgedFilter, "source", ("language", LanguageFilter), "index")
    search_fields = ("text",)
    ordering = ("-times_asked", "pk")
    list_per_page = 50
    show_full_result_count = False

    # ---- who may

    def has_judge_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("shopsearch.judge")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_judge_permission(request) or super().has_view_permission(request, obj)

    # ---- the list and the form

    def get_queryset(self, request: HttpRequest) -> Any:
        counted = super().get_queryset(request).annotate(judged=Count("judgements"))
        return counted.annotate(pictured=~Q(picture=None)).defer("picture")

    @admin.display(description=_("query"), ordering="text")
    def asked(self, query: Any) -> str:
        picture = self._thumbnail(query) if query.pictured else ""
        return format_html(
            '<a class="shopsearch-query" href="{}">{}{}</a>', self.url_of("judge", query.pk), picture, query
        )

    @admin.display(description=_("index"), ordering="index")
    def index_name(self, query: EvaluationQuery) -> str:
        return breakable(query.index)

    @admin.display(description=_("asked"), ordering="times_asked")
    def times(self, query: EvaluationQuery) -> str:
        return str(query.times_asked or "–")

    @admin.display(description=_("judged"), ordering="judged")
    def judged(self, query: Any) -> int:
        return int(query.judged)

    @admin.display(description=_("picture"))
    def picture_now(self, query: Any) -> str:
        return self._thumbnail(query) if query.pk and query.pictured else "–"

    def _thumbnail(self, query: EvaluationQuery) -> str:
        return thumbnail(self.url_of("picture", query.pk))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        asked = ("index", "text", "picture_now") if obj else ("index", "text")
        upload = () if obj and (obj.judged or not self.has_change_permission(request, obj)) else ("upload",)
        kept = ("source", "times_asked", "asked_on", "created_on") if obj else ()
        return (*asked, *upload, "language", *kept)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A judged query keeps its index and its words: the judgements are about these words."""
        kept = ("picture_now", "source", "times_asked", "asked_on", "created_on")
        return (*kept, "index", "text") if obj and obj.judged else kept

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        unjudged = (
            evaluation.judgements.unjudged_queries().first() if self.has_judge_permission(request) else None
        )
        extra = {"title": _("Queries to judge"), "next_query": unjudged, **(extra_context or {})}
        return super().changelist_view(request, extra)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> Any:
        if {"_continue", "_addanother"} & request.POST.keys() or not self.has_judge_permission(request):
            return super().response_add(request, obj, post_url_continue)
        return HttpResponseRedirect(self.url_of("judge", obj.pk))

    # ---- the page where results are graded

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("<int:pk>/judge/", view(self.judge_view), name=self.url_name("judge")),
            path("<int:pk>/picture/", view(self.picture_view), name=self.url_name("picture")),
        ]
        return [*own, *super().get_urls()]

    def _visible(self, request: HttpRequest, pk: int) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        query = self.get_queryset(request).filter(pk=pk).first()
        if query is None:
            raise Http404
        return query

    def picture_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A query's picture, small and without a camera's metadata."""
        query = self._visible(request, pk)
        if not query.picture:
            raise Http404
        from shopsearch import images

        content = images.jpeg(images.decode(bytes(query.picture)), SHOWN_SIDE)
        headers = {"Cache-Control": "private, no-store"}
        return HttpResponse(content, content_type="image/jpeg", headers=headers)

    def judge_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        query = self._visible(request, pk)
        given = request.POST.get("results") or request.GET.get("results") or ""
        wanted = int(given) if given.isdecimal() and len(given) < 5 else 0
        shown = max(settings.PAGE_SIZE, min(wanted, settings.MAX_PAGE_SIZE))
        following = evaluation.judgements.next_query(query)
        if request.method == "POST":
            return self._judged(request, query, shown, following)
        context = {
            "title": query,
            "query": query,
            "pool": evaluation.judgements.pool(query, shown),
            "shown": shown,
            "more": shown + settings.PAGE_SIZE,
            "grades": Judgement.Grade.choices,
            "next_query": following,
            "may_judge": self.has_judge_permission(request),
            "may_change": self.has_change_permission(request, query),
        }
        return self.page(request, "admin/shopsearch/evaluationquery/judge.html", context)

    def _judged(
        self, request: HttpRequest, query: EvaluationQuery, shown: int, following: EvaluationQuery | None
    ) -> HttpResponse:
        if not self.has_judge_permission(request):
            raise PermissionDenied
        grades = _changes(request.POST)
        evaluation.judgements.judge(query, grades, by=request.user)
        text = ngettext("%(count)d judgement was saved.", "%(count)d judgements were saved.", len(grades))
        messages.success(request, text % {"count": len(grades)})
        if "_more" in request.POST:
            more = min(shown + settings.PAGE_SIZE, settings.MAX_PAGE_SIZE)
            address = f"{self.url_of('judge', query.pk)}?results={more}#result-{shown + 1}"
        elif "_next" not in request.POST:
            address = f"{self.url_of('judge', query.pk)}?results={shown}"
        elif following is not None:
            address = self.url_of("judge", following.pk)
        else:
            messages.info(request, _("Every query has been judged."))
            address = self.url_of("changelist")
        return HttpResponseRedirect(address)


def _changes(posted: QueryDict) -> dict[str, int | None]:
    """By product: the grades that were changed in this form. Grades that a colleague has changed stay otherwise."""
    known = {str(grade.value) for grade in Judgement.Grade}
    changes: dict[str, int | None] = {}
    for name, grade in posted.items():
        product_id = name.removeprefix(GRADE)
        if product_id == name or not 0 < len(product_id) <= 255 or "\0" in product_id:
            continue
        before = str(posted.get(BEFORE + product_id, ""))
        chosen = "0" if not (grade or before) and "rest" in posted else str(grade)
        if chosen != before and (chosen in known or not chosen):
            changes[product_id] = int(chosen) if chosen else None
    return changes
