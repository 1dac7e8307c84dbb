"""Rules of the house: which of them a search fires, and what they do to its results.

``match`` and ``apply`` are functions of values. Every process reads the rules anew within seconds after one is saved.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import Exists, Model
from django.utils import timezone

from shopsearch import models
from shopsearch.backends import get_vector_store
from shopsearch.exceptions import FilterError
from shopsearch.filters import AnyOf, Filter, conditions, holds
from shopsearch.models.rules import RuleAction, is_allowed
from shopsearch.registry import ImageIndex, analyzer, find_index
from shopsearch.registry.keys import chunks_of, keys_from
from shopsearch.registry.relations import with_related
from shopsearch.search import pictureless, retrieval
from shopsearch.search.columns import column, narrowed, products
from shopsearch.search.facet_counts import readings
from shopsearch.search.kept import Kept
from shopsearch.telemetry.metrics import timed
from shopsearch.types import Hit

if TYPE_CHECKING:
    from shopsearch.search.result_set import ResultSet
    from shopsearch.search.retrieval import Found, HitLists
    from shopsearch.types import FilterValue, Vector

KEPT_SECONDS = 3
"""How long a process takes the rules that it read for those in the database."""
BOOST = 10
"""By how many places a product moves up unless the action says so."""
Kind, Trigger = RuleAction.Kind, models.Rule.Trigger
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that a rule does."""

    kind: str
    products: tuple[Any, ...] = ()
    """Their primary keys."""
    value: AnyOf | None = None
    """What the products have that it is done to as well."""
    place: int | None = None
    """Of the first product that is pinned, from 1; of a boost, by how many places."""
    text: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """A sentence above the results."""

    text: str
    address: str = ""
    """Where it leads; "" for nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """When a rule fires, and what happens then; read from the database, or made up for a preview."""

    name: str
    trigger: str = Trigger.ANY
    words: tuple[str, ...] = ()
    """Any of these texts."""
    language: str = ""
    filters: tuple[AnyOf, ...] = ()
    look: Vector | None = None
    """What its pictures look like together, in ``space``."""
    space: str = ""
    threshold: float | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    actions: tuple[Action, ...] = ()
    _meant: dict[str, list[frozenset[str]]] = field(default_factory=dict, init=False, repr=False)

    def meant(self, language: str) -> list[frozenset[str]]:
        """The stems of each of ``words``, most of the time without making them anew."""
        if language not in self._meant:
            stems = (frozenset(analyzer.stems(each, language)) for each in self.words)
            self._meant[language] = [each for each in stems if each]
        return self._meant[language]

    @property
    def kinds(self) -> list[str]:
        """What it does, each kind once."""
        return list(dict.fromkeys(str(action.kind) for action in self.actions))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """What is known of a search before its results are."""

    texts: tuple[str, ...] = ()
    """The words as they were typed, and without typing errors."""
    language: str = ""
    condition: Filter | None = None
    look: Vector | None = None
    """What its picture looks like; None for a search by words."""
    space: str = ""
    """The vector's."""
    now: datetime = field(default_factory=timezone.now)


# Which rules fire


def match(rules: Iterable[Rule], asked: Asked) -> tuple[Rule, ...]:
    """The rules that fire, in their order: the first counts first."""
    return tuple(rule for rule in rules if fires(rule, asked))


def fires(rule: Rule, asked: Asked) -> bool:
    """Whether everything that the rule asks for is so."""
    if (rule.valid_from and asked.now < rule.valid_from) or (
        rule.valid_until and asked.now >= rule.valid_until
    ):
        return False
    if rule.language and _base(rule.language) != _base(asked.language):
        return False
    chosen = {each.field: each.values for each in conditions(asked.condition) if isinstance(each, AnyOf)}
    if any(set(each.values).isdisjoint(chosen.get(each.field, ())) for each in rule.filters):
        return False
    if rule.trigger == Trigger.LOOKS:
        return is_alike(rule, asked.look, asked.space)
    return rule.trigger == Trigger.ANY or _says(rule, asked)


def is_alike(rule: Rule, look: Vector | None, space: str) -> bool:
    """Whether a picture's vector is as near to what the rule's pictures look like as its threshold asks."""
    if look is None or rule.look is None or rule.threshold is None or rule.space != space:
        return False
    return float(rule.look @ look) >= rule.threshold


def _says(rule: Rule, asked: Asked) -> bool:
    language = analyzer.known_language(rule.language or asked.language)
    for text in asked.texts:
        said = _stems(text, language)
        if rule.trigger == Trigger.CONTAINS:
            if any(meant <= said for meant in rule.meant(language)):
                return True
        elif said in rule.meant(language):
            return True
    return False


@lru_cache(maxsize=100)
def _stems(text: str, language: str) -> frozenset[str]:
    return frozenset(analyzer.stems(text, language))


def _base(language: str) -> str:
    return language.replace("_", "-").partition("-")[0].lower()


# What they do


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What rules do together, product by product. Of two that disagree the first one counts."""

    pins: Mapping[Any, int] = field(default_factory=dict)
    """The product's key -> the place that it is pinned to, from 1. One whose place is taken stands after that."""
    boosts: Mapping[Any, int] = field(default_factory=dict)
    """The product's key -> by how many places it moves up."""
    buried: frozenset[Any] = frozenset()
    hidden: frozenset[Any] = frozenset()
    rules: Mapping[Any, str] = field(default_factory=dict)
    """The product's key -> the rule that moves it."""
    values: Sequence[tuple[str, Action]] = ()
    """The actions that are about all products with a filter's value, each with its rule's name."""

    @property
    def reach(self) -> int:
        """How many more products have to be known for the first n to be certain, but for those that ``values`` bury."""
        ups = [each.place or BOOST for _rule, each in self.values if each.kind == Kind.BOOST]
        return len(self.pins) + len(self.buried) + max([*self.boosts.values(), *ups], default=0)

    @property
    def moves(self) -> bool:
        return bool(self.pins or self.boosts or self.buried or self.hidden)

    def over(self, values: Mapping[Any, Mapping[str, FilterValue | None]]) -> Effect:
        """The same, of these products by their filters' values, too. What is said of a single product counts first."""
        boosts, buried, names = dict(self.boosts), set(self.buried), dict(self.rules)
        for rule, action in self.values:
            condition = action.value
            for key, own in values.items():
                if condition is None or key in names or not holds(condition, own.get(condition.field)):
                    continue
                names[key] = rule
                if action.kind == Kind.BOOST:
                    boosts[key] = action.place or BOOST
                else:
                    buried.add(key)
        return replace(self, boosts=boosts, buried=frozenset(buried), rules=names)


def effect_of(rules: Iterable[Rule]) -> Effect:
    """What these rules do, the first of them first."""
    pins: dict[Any, int] = {}
    boosts: dict[Any, int] = {}
    others: dict[str, set[Any]] = {Kind.BURY: set(), Kind.HIDE: set()}
    names: dict[Any, str] = {}
    values: list[tuple[str, Action]] = []
    for rule in rules:
        for action in rule.actions:
            if action.kind not in RuleAction.OF_PRODUCTS:  # a newer version's, too
                continue
            if action.value is not None and action.kind in RuleAction.OF_VALUES:
                values.append((rule.name, action))
            for key in action.products:
                if key in names:
                    continue
                names[key] = rule.name
                if action.kind == Kind.PIN:
                    pins[key] = action.place or 1
                elif action.kind == Kind.BOOST:
                    boosts[key] = action.place or BOOST
                else:
                    others[action.kind].add(key)
    return Effect(
        pins=pins,
        boosts=boosts,
        buried=frozenset(others[Kind.BURY]),
        hidden=frozenset(others[Kind.HIDE]),
        rules=names,
        values=values,
    )


def apply(
    ranked: Mapping[Any, Row], effect: Effect, pinned: Mapping[Any, Row], *, is_whole: bool
) -> dict[Any, Row]:
    """The products, by key and best first, as the rules want them; each once, and none that was not given.

    ``pinned`` has the pinned products that may be shown. ``ranked`` is the beginning of an order, or the whole of it.
    The first n of the answer are the same for every beginning of ``n + effect.reach`` products or more, and for the
    whole, so pages are parts of one order.
    """
    free = [key for key in ranked if key not in effect.hidden and key not in pinned]
    staying = [key for key in free if key not in effect.buried]
    places = {
        key: place - (effect.boosts[key] + 0.5 if key in effect.boosts else 0)
        for place, key in enumerate(staying)
    }
    order = sorted(staying, key=places.__getitem__)
    if is_whole:  # else the buried are further down
        order += [key for key in free if key in effect.buried]
    taken: dict[int, Any] = {}
    for key, place in effect.pins.items():
        if key in pinned:
            while place in taken:
                place += 1
            taken[place] = key
    for place in sorted(taken):
        order.insert(place - 1, taken[place])
    return {key: pinned[key] if key in pinned else ranked[key] for key in order}


def banner_of(rules: Iterable[Rule]) -> Banner | None:
    """The first banner; without its address where that is not allowed any more."""
    for rule in rules:
        for each in rule.actions:
            if each.kind == Kind.BANNER:
                return Banner(text=each.text, address=each.address if is_allowed(each.address) else "")
    return None


def redirect_of(rules: Iterable[Rule]) -> str:
    """The first address that the search is to lead to and that is allowed; "" for none."""
    addresses = (each.address for rule in rules for each in rule.actions if each.kind == Kind.REDIRECT)
    return next(filter(is_allowed, addresses), "")


# Over what was retrieved


def sought(
    lists: HitLists, effect: Effect, *, wanted: int, without: Collection[Any]
) -> tuple[Found, Effect, int]:
    """What has to be retrieved for the first ``wanted`` products to be certain, with the effect on it, and how many
    products were asked for.

    Products that a value moves to the end are not known before they are found: more are asked for until enough others
    are there.
    """
    limit = wanted + effect.reach
    while True:
        found = retrieval.products(lists, wanted=limit, without={*without, *effect.hidden})
        if not effect.values:
            return found, effect, limit
        own = effect.over(_values_of(lists.target.index, found))
        if len(found.keys) < limit or limit >= wanted + own.reach:
            return found, own, limit
        limit = max(2 * limit, wanted + own.reach)


def _values_of(index: ImageIndex, found: Found) -> dict[Any, dict[str, FilterValue | None]]:
    keys = dict(zip((hit.id for hit in found.ranked), found.keys, strict=True))
    shown = retrieval.with_images(index, found.ranked, related=True)
    return {keys[hit.id]: index.known_filter_values(image) for hit, image in shown}


def applied(
    lists: HitLists, found: Found, effect: Effect, *, wanted: int, limit: int, without: Collection[Any]
) -> Found:
    """What was retrieved, as the rules want it: without what they hide, with what they pin.

    ``limit`` is how many products were asked for. A pinned product is shown if the shop shows it and it passes the
    filters; it counts as a match, since staff say so.
    """
    ranked = dict(zip(found.keys, found.ranked, strict=True))
    pinned = pinned_hits(lists, effect, ranked, without)
    order = apply(ranked, effect, pinned, is_whole=len(ranked) < limit)
    keys = list(order)[:wanted]
    return replace(
        found,
        keys=keys,
        ranked=[order[key] for key in keys],
        placed={order[key].id: effect.rules[key] for key in keys if key in effect.rules},
        best=1.0 if pinned else found.best if order else None,
    )


def counted(
    among: ResultSet | None, lists: HitLists, effect: Effect, *, without: Collection[Any]
) -> ResultSet | None:
    """The result set that facets and the number of results count, as the rules want it.

    ``lists`` are those that it was made of.
    """
    if among is None:
        return None
    pinned = set(map(str, effect.pins)) - set(map(str, without)) - lists.unwanted
    return replace(among, products=among.products - set(map(str, effect.hidden)) | pinned)


def pinned_hits(
    lists: HitLists, effect: Effect, ranked: Mapping[Any, Hit], without: Collection[Any]
) -> dict[Any, Hit]:
    """By key the pinned products that the shop shows, that pass the filters, and that the query does not exclude."""
    if not effect.pins:
        return {}
    target, index = lists.target, lists.target.index
    chosen = list(conditions(target.condition))
    with timed("database"):
        images = index.images_of(effect.pins, index.get_queryset())
        rows = [
            (str(row.pk), row, product)
            for row in (with_related(index, images) if chosen else images)
            if (product := index.product_of(row)) is not None
        ]
        if index.finds_pictureless:
            blank = pictureless.images_of(index, map(str, effect.pins))
            rows += [
                ("", image, product)
                for image in blank.values()
                if (product := index.product_of(image)) is not None
            ]
    hits: dict[Any, list[Hit]] = {}
    for image_id, row, product in rows:
        key = product.pk
        if key not in effect.pins or key in without or str(key) in lists.unwanted:
            continue
        values = index.known_filter_values(row) if chosen else {}
        if all(holds(each, values.get(each.field)) for each in chosen):
            hit = (
                Hit(id=index.entity_id(image_id), image_id=image_id, product_id=str(key), score=0.0)
                if image_id
                else pictureless.hit_of(str(key))
            )
            hits.setdefault(key, []).append(hit)
    unknown = [hit for key, own in hits.items() if key not in ranked for hit in own]
    scores = _scores(lists, [hit.id for hit in unknown if hit.image_id])
    found = {}
    for key, own in hits.items():
        scored = [replace(hit, score=scores.get(hit.id, 0.0)) for hit in own]
        found[key] = ranked[key] if key in ranked else max(scored, key=lambda hit: hit.score)
    return found


def _scores(lists: HitLists, ids: Sequence[str]) -> dict[str, float]:
    """By entity the cosine with the query, of those that the store holds."""
    if not ids:
        return {}
    with timed("store"):
        held = get_vector_store().fetch(lists.target.collection.name, ids)
    return {each.id: float(each.vector @ lists.target.vector) for each in held}


# In force


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The rules that were read, and what was made of them."""

    state: Mapping[Any, Sequence[object]]
    """By key what each was read of: as long as that stays, it is not read anew."""
    rows: Sequence[models.Rule]
    made: dict[tuple[object, str], Rule | None] = field(default_factory=dict)
    """By a row's key and the space."""
    in_force: dict[tuple[str, str], tuple[Rule, ...]] = field(default_factory=dict)
    """By index and space."""


def _columns(model: type[Model]) -> list[str]:
    return [each.attname for each in model._meta.concrete_fields]


def _read(_key: None, before: _Rows | None) -> _Rows:
    before = before or _Rows(state={}, rows=())
    rules = models.Rule.objects.filter(is_on=True)
    state: dict[Any, list[object]] = {
        row[0]: [row] for row in rules.values_list("pk", *_columns(models.Rule))
    }
    if not state:
        return _Rows(state={}, rows=())
    pictures = models.RulePicture.objects.order_by("pk", "vectors__pk")
    for rule, *parts in (
        *models.RuleAction.objects.order_by("pk").values_list("rule", *_columns(models.RuleAction)),
        *pictures.values_list("rule", "pk", "image", "vectors", "vectors__file", "vectors__space"),
    ):
        if rule in state:
            state[rule].append(parts)
    if before.state == state:
        return before
    known = {row.pk: row for row in before.rows if before.state[row.pk] == state.get(row.pk)}
    changed = [key for key in state if key not in known]
    read = rules.filter(pk__in=changed).prefetch_related("actions", "pictures__vectors")
    rows = known | {row.pk: row for row in read}
    return _Rows(
        state=state,
        rows=[rows[key] for key in state if key in rows],
        made={(key, space): rule for (key, space), rule in before.made.items() if key in known},
    )


_kept = Kept(_read, lambda: KEPT_SECONDS)
forget = _kept.forget


def in_force(index: ImageIndex, space: str) -> tuple[Rule, ...]:
    """The rules of this index that are on, for searches in this space; most of the time without asking the database."""
    read = _kept.get(None)
    if not read.rows:
        return ()
    if (index.name, space) not in read.in_force:
        own = [row for row in read.rows if row.index == index.name]
        for row in own:
            if (row.pk, space) not in read.made:
                read.made[row.pk, space] = rule_of(row, space)
        made = (read.made[row.pk, space] for row in own)
        read.in_force[index.name, space] = tuple(rule for rule in made if rule is not None)
    return read.in_force[index.name, space]


def rule_of(row: models.Rule, space: str) -> Rule | None:
    """The rule for searches in this space; None for one whose index or filters the shop does not declare any more.

    One by looks has no ``look`` as long as not all its pictures have vectors, and no threshold that was set for
    another space.
    """
    index = find_index(row.index)
    if index is None:
        return None
    actions = row.actions.all()
    try:
        filters = row.conditions
        values = [each.condition if each.value else None for each in actions]
    except FilterError:
        return None
    return Rule(
        name=row.name,
        trigger=row.trigger,
        words=tuple(row.alternatives),
        language=row.language,
        filters=filters,
        look=row.look_in(space),
        space=space,
        threshold=row.threshold_in(space),
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        actions=tuple(
            Action(
                kind=each.kind,
                products=tuple(keys_from(index.product_model, each.keys)),
                value=value,
                place=each.place,
                text=each.text,
                address=each.address,
            )
            for each, value in zip(actions, values, strict=True)
        ),
    )


# State


def states_of(rows: Sequence[models.Rule]) -> dict[Any, models.Rule.State]:
    """By key, whether searches follow each of these rules now, and if not, why. The shop is asked for all at once."""
    now = timezone.now()
    tried: dict[str, list[models.Rule]] = {}
    for row in rows:
        if row.is_on and not _has_expired(row, now) and _is_declared(row):
            tried.setdefault(row.index, []).append(row)
    shops = {name: _Shop(index, own) for name, own in tried.items() if (index := find_index(name))}
    return {row.pk: _state_of(row, shops.get(row.index), now) for row in rows}


def _state_of(row: models.Rule, shop: _Shop | None, now: datetime) -> models.Rule.State:
    state = models.Rule.State
    if not row.is_on:
        return state.OFF
    if _has_expired(row, now):
        return state.EXPIRED
    if shop is None or row not in shop.rows:
        return state.UNDECLARED
    actions = row.actions.all()
    if not actions:
        return state.WITHOUT_ACTIONS
    if not any(map(shop.has_effect, actions)):
        return state.WITHOUT_VALUE if any(each.value for each in actions) else state.WITHOUT_PRODUCTS
    if not row.has_words:
        return state.WITHOUT_WORDS
    if row.is_by_looks:
        if not row.pictures.all():
            return state.WITHOUT_PICTURES
        if shop.live is None or row.look_in(shop.live.space) is None:
            return state.WITHOUT_VECTORS
        if row.threshold_in(shop.live.space) is None:
            return state.WITHOUT_THRESHOLD
    if row.valid_from and row.valid_from > now:
        return state.PLANNED
    return state.IN_FORCE


class _Shop:
    """What the shop has of what rules of one index name; it is asked once for all of them, and only what matters."""

    def __init__(self, index: ImageIndex, rows: Sequence[models.Rule]) -> None:
        self.index = index
        self.rows = rows

    @cached_property
    def live(self) -> models.Collection | None:
        return retrieval.live(self.index)

    def has_effect(self, action: RuleAction) -> bool:
        """Whether the action is about a product that the shop shows, or about no product at all."""
        return self._is_named(action) or (_is_by_value(action) and action.condition in self._had)

    def _is_named(self, action: RuleAction) -> bool:
        return action.kind not in RuleAction.OF_PRODUCTS or not self._named.isdisjoint(self._keys(action))

    def _keys(self, action: RuleAction) -> list[Any]:
        return keys_from(self.index.product_model, action.keys)

    @cached_property
    def _named(self) -> set[Any]:
        """The keys of the named products that the shop shows."""
        actions = (each for row in self.rows for each in row.actions.all())
        keys = dict.fromkeys(
            key for each in actions if each.kind in RuleAction.OF_PRODUCTS for key in self._keys(each)
        )
        shown: set[Any] = set()
        for chunk in chunks_of(keys):
            images = self.index.images_of(chunk, self.index.get_queryset()).order_by()
            for lookup in self.index.product_lookups:
                shown.update(images.values_list(f"{lookup}__pk" if lookup else "pk", flat=True))
            if self.index.finds_pictureless:
                shown.update(self.index.pictureless_products(chunk).values_list("pk", flat=True))
        return shown

    @cached_property
    def _had(self) -> set[AnyOf]:
        """The values that products have, of those rules for which it matters."""
        rows = (row for row in self.rows if not any(map(self._is_named, row.actions.all())))
        actions = (each for row in rows for each in row.actions.all())
        return values_had(self.index, [each.condition for each in actions if _is_by_value(each)])


def _is_by_value(action: RuleAction) -> bool:
    return bool(action.value) and action.kind in RuleAction.OF_VALUES


def values_had(index: ImageIndex, conditions: Iterable[AnyOf]) -> set[AnyOf]:
    """Those of these conditions that a product which the shop shows passes; also those for which too many would have to
    be read to tell.

    The values of a filter that is no column are read, of SHOPSEARCH["FACET_LIMIT"] products or images at most.
    """
    own, had = index.finds_pictureless, set()
    asked = set(conditions)
    in_columns = [each for each in asked if column(index, each.field) is not None]
    for chunk in chunks_of(in_columns):
        with index.in_its_language():
            shown = products(index, pictureless=own)
            rows = shown.model._base_manager.using(shown.db).order_by()
            answers = rows.values_list(*(Exists(narrowed(shown, index, [each])) for each in chunk))[:1]
            had |= {each for row in answers for each, is_had in zip(chunk, row, strict=True) if is_had}
    if others := asked.difference(in_columns):
        read = readings(index, sorted({each.field for each in others}), pictureless=own)
        had |= {
            each
            for each in others
            if not read.is_complete or any(holds(each, one.values.get(each.field)) for one in read.read)
        }
    return had


def _has_expired(row: models.Rule, now: datetime) -> bool:
    return row.valid_until is not None and row.valid_until <= now


def _is_declared(row: models.Rule) -> bool:
    """Whether the shop still declares its filters; a rule without them fires for nothing."""
    try:
        _checked = row.conditions, *(each.condition for each in row.actions.all() if each.value)
    except FilterError:
        return False
    return True
