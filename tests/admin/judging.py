"""What the tests of judging share: addresses, queries, and the form as a browser posts it."""

from django.urls import reverse

from shopsearch.models import EvaluationQuery
from tests.storefront.test_widget import Elements

LIST = "admin:shopsearch_evaluationquery_changelist"
ADD = "admin:shopsearch_evaluationquery_add"
CHANGE = "admin:shopsearch_evaluationquery_change"
JUDGE = "admin:shopsearch_evaluationquery_judge"
PICTURE = "admin:shopsearch_evaluationquery_picture"
INDEX = "shopsearch_productimage"


def query(text="red mug", **fields):
    return EvaluationQuery.objects.create(**{"index": INDEX, "text": text} | fields)


def grades(asked):
    return dict(asked.judgements.values_list("product_id", "grade"))


def shown(html):
    """The products on the page, with the grade that is chosen: ``{"5": "3", "7": ""}``."""
    radios = Elements(html).all("input", type="radio")
    return {each["name"].removeprefix("grade-"): each["value"] for each in radios if "checked" in each}


def submit(client, asked, chosen, *, button="_save", before=None, **more):
    """Post the form as a browser would that showed ``before``."""
    before = grades(asked) if before is None else before
    data = {f"before-{key}": grade for key, grade in before.items()}
    data |= {f"grade-{key}": grade for key, grade in {**before, **chosen}.items()}
    return client.post(reverse(JUDGE, args=[asked.pk]), {**data, button: "1", **more})
