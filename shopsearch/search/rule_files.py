"""Rules as a CSV file: one line for each action, and the rule's own values on each of its lines."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from shopsearch.filters import FALSE, TRUE
from shopsearch.models import Rule, RuleAction
from shopsearch.search.csv_files import Unusable, csv_of, lines_of

OWN = ("index", "on", "priority", "valid_from", "valid_until", "trigger", "words", "language", "filters")
"""The columns of the rule's own values."""
COLUMNS = ("name", *OWN, "action", "products", "value", "place", "text", "address")
NEEDED = ("name", "index", "trigger", "action")


def rules_of(content: bytes) -> list[tuple[Rule, list[RuleAction]]]:
    """The rules of a file, checked and not stored. Raises Unusable."""
    found: dict[str, tuple[Rule, list[RuleAction], dict[str, str]]] = {}
    for number, line in lines_of(content, COLUMNS, NEEDED):
        try:
            if line["name"] not in found:
                rule = _rule(line)
                rule.full_clean(validate_unique=False)
                found[line["name"]] = (rule, [], line)
            rule, actions, first = found[line["name"]]
            if any(line[name] != first[name] for name in OWN):
                raise ValidationError(_("The lines of a rule have to agree about everything but the action."))
            if line["action"]:
                action = RuleAction(
                    rule=rule,
                    kind=line["action"],
                    products=line["products"],
                    value=line["value"],
                    place=_whole(line["place"]),
                    text=line["text"],
                    address=line["address"],
                )
                action.full_clean(exclude=["rule"])
                actions.append(action)
        except (ValidationError, ValueError, OverflowError) as error:
            problem = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
            raise Unusable(_("Line %(line)s: %(problem)s") % {"line": number, "problem": problem}) from error
    return [(rule, actions) for rule, actions, _line in found.values()]


def save(rules: Iterable[tuple[Rule, list[RuleAction]]]) -> None:
    """Store them. A rule of the same name is replaced but for its pictures and its threshold; others stay."""
    with transaction.atomic(using=Rule.objects.db):
        for rule, actions in rules:
            known = Rule.objects.filter(name=rule.name).first()
            if known is not None:
                rule.pk, rule.threshold, rule.threshold_space = (
                    known.pk,
                    known.threshold,
                    known.threshold_space,
                )
                known.actions.all().delete()
            rule.save(force_update=known is not None)
            for action in actions:
                action.rule = rule
                action.save(force_insert=True)


def file_of(rules: Iterable[Rule]) -> str:
    """The file that ``rules_of`` reads."""
    return csv_of(COLUMNS, (row for rule in rules for row in _rows(rule)))


def _rows(rule: Rule) -> Iterable[list[Any]]:
    own = [
        rule.name,
        rule.index,
        "yes" if rule.is_on else "no",
        rule.priority,
        _written(rule.valid_from),
        _written(rule.valid_until),
        rule.trigger,
        rule.words,
        rule.language,
        "\n".join(rule.filters.splitlines()),
    ]
    for action in rule.actions.all() or [RuleAction(kind="")]:
        place = "" if action.place is None else action.place
        yield [*own, action.kind, action.products, action.value, place, action.text, action.address]


def _rule(line: dict[str, str]) -> Rule:
    if (is_on := line["on"].lower() or "yes") not in TRUE + FALSE:
        raise ValueError(_("on is %(value)r; write yes or no.") % {"value": line["on"]})
    return Rule(
        name=line["name"],
        index=line["index"],
        is_on=is_on in TRUE,
        priority=_whole(line["priority"]) or 0,
        valid_from=_moment(line["valid_from"]),
        valid_until=_moment(line["valid_until"]),
        trigger=line["trigger"],
        words=line["words"],
        language=line["language"],
        filters=line["filters"],
    )


def _whole(text: str) -> int | None:
    try:
        return int(text) if text else None
    except ValueError:
        raise ValueError(_("%(text)r is no whole number.") % {"text": text}) from None


def _moment(text: str) -> datetime | None:
    """In the shop's time zone unless it names one."""
    if not text:
        return None
    moment = parse_datetime(text)
    if moment is None:
        raise ValueError(_("%(text)r is no date and time, such as 2026-11-27 08:00.") % {"text": text})
    aware = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return aware.astimezone(UTC)  # raises OverflowError for what no database takes


def _written(moment: datetime | None) -> str:
    return moment.isoformat(sep=" ") if moment else ""
