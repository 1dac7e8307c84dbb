"""A rebuild that the store refuses, at whichever call: nothing else waits for it, and it goes on or is given up."""

from dataclasses import dataclass

import pytest
from django.core.management import CommandError

from shopsearch.backends import get_vector_store
from shopsearch.exceptions import BackendError, VectorStoreError
from shopsearch.indexing import batch, rebuild
from shopsearch.models import Collection, IndexEntry, ProductImage
from shopsearch.testing import MemoryStore
from tests.commands.running import reindex, status_json, the_index
from tests.indexing.rebuilds import COLOUR, _kept, in_live, live, use, work
from tests.shop.models import Product
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.store import IMAGES, due_now

pytestmark = pytest.mark.django_db
FULL = "No space left on device"
VERBS = (
    *(
        "ensure_collection",
        "drop_collection",
        "collections",
        "point_alias",
        "upsert",
        "delete",
        "fetch",
        "ids",
    ),
    "count",
)


class Refusals:
    """From which call of the store on what fails."""

    def __init__(self):
        self.calls, self.first, self.kind = 0, 0, ""

    def begin(self, kind, first):
        self.calls, self.kind, self.first = 0, kind, first

    def end(self):
        self.kind = ""

    def strike(self, verb, collection):
        self.calls += 1
        if self.kind == "once" and self.calls == self.first:
            return True
        if self.calls < self.first:
            return False
        if self.kind == "all but the live one":
            return verb != "collections" and collection != live().name
        return self.kind == "away"


refusals = Refusals()


@dataclass(kw_only=True, eq=False)
class RefusingStore(MemoryStore):
    def __post_init__(self):
        self._collections = _kept


def _refusing(verb):
    plain = getattr(MemoryStore, verb)

    def call(self, *arguments):
        named = arguments[1] if verb == "point_alias" else arguments[0] if arguments else ""
        if refusals.strike(verb, named):
            raise VectorStoreError(FULL)
        return plain(self, *arguments)

    return call


for _verb in VERBS:
    setattr(RefusingStore, _verb, _refusing(_verb))


@pytest.fixture(autouse=True)
def store(settings):
    use(settings, COLOUR, VECTOR_STORE={"BACKEND": f"{__name__}.RefusingStore"}, QUERY_CACHE_SECONDS=0)
    refusals.end()
    yield get_vector_store()
    refusals.end()


def open_shop():
    for model in (Product, IndexEntry, Collection):
        model.objects.all().delete()
    get_vector_store().clear()
    for colour in (RED, GREEN, BLUE):
        product(colour)
    work()


def go_on():
    """What workers do while time passes."""
    for _ in range(4):
        due_now()
        for _ in range(3):
            rebuild.advance()
            batch.index_batch()


def keep_shop():
    first, second, _ = ProductImage.objects.order_by("pk")
    first.delete()
    second.image.save("other.png", picture((9, 200, 90)))
    product((200, 200, 10))


def shop_and_live_agree():
    return set(in_live()) == {str(key) for key in ProductImage.objects.values_list("pk", flat=True)}


def all_at_rest():
    return set(IndexEntry.objects.values_list("state", flat=True)) == {"indexed"}


def tell(kind, number, finish):
    """The whole story; returns whether the number-th call of the store was ever made."""
    open_shop()
    old = live()
    refusals.begin(kind, number)
    try:
        rebuild.begin(IMAGES)
    except (rebuild.Refused, BackendError):
        assert not Collection.objects.of(IMAGES).unfinished().exists()
    work()
    keep_shop()
    go_on()
    reached = refusals.calls >= number
    refusals.end()
    if kind != "away":
        assert all_at_rest(), "every row goes on"
        assert shop_and_live_agree()
        unfinished = Collection.objects.of(IMAGES).unfinished().first()
        assert unfinished is None or (unfinished.state, FULL in unfinished.error) == ("paused", True)
    go_on()
    assert all_at_rest()
    if (unfinished := Collection.objects.of(IMAGES).unfinished().first()) is not None:
        if unfinished.state == "paused":
            finish(IMAGES)
    elif live() == old:
        rebuild.begin(IMAGES)
    go_on()
    work()
    assert not Collection.objects.of(IMAGES).unfinished().exists()
    assert finish is rebuild.cancel or live() != old
    assert shop_and_live_agree()
    return reached


@pytest.mark.parametrize("finish", [rebuild.resume, rebuild.cancel])
@pytest.mark.parametrize("kind", ["once", "all but the live one", "away"])
def test_whichever_call_of_the_store_fails_the_rest_goes_on_and_the_rebuild_can_be_finished(kind, finish):
    number = 1
    while tell(kind, number, finish):
        number += 1
    assert number > 10, "the story has that many calls"


def test_an_alias_that_the_store_refuses_is_logged_and_stops_nothing(monkeypatch, caplog):
    def refuse(self, alias, collection):
        raise VectorStoreError(FULL)

    monkeypatch.setattr(RefusingStore, "point_alias", refuse)
    open_shop()
    assert all_at_rest()
    old = live()
    rebuild.begin(IMAGES)
    work()
    assert live() != old
    assert rebuild.prune(IMAGES) == [old.name]
    said = [record.getMessage() for record in caplog.records if FULL in record.getMessage()]
    assert len(said) == 3, "the first collection, the switch, and the pruning"
    assert all("the alias of" in each for each in said)


def test_a_rebuild_can_be_cancelled_while_the_store_refuses_and_what_is_left_is_pruned_later():
    open_shop()
    new = rebuild.begin(IMAGES)
    refusals.begin("all but the live one", 1)
    rebuild.cancel(IMAGES)
    assert not Collection.objects.of(IMAGES).unfinished().exists()
    refusals.end()
    assert rebuild.prune(IMAGES) == [new.name]
    work()
    assert all_at_rest()
    assert shop_and_live_agree()


def test_a_new_collection_that_cannot_be_counted_pauses_its_rebuild_with_the_reason(monkeypatch):
    open_shop()
    rebuild.begin(IMAGES)
    count = RefusingStore.count

    def refuse_the_new_one(self, collection):
        if collection != live().name:
            raise VectorStoreError(FULL)
        return count(self, collection)

    with monkeypatch.context() as patch:
        patch.setattr(RefusingStore, "count", refuse_the_new_one)
        work()
        paused = Collection.objects.of(IMAGES).unfinished().get()
        assert (paused.state, FULL in paused.error) == ("paused", True)
    rebuild.resume(IMAGES)
    work()
    assert live() == paused


def test_status_says_it_and_the_commands_mend_it(monkeypatch):
    from shopsearch import broker

    monkeypatch.setattr(broker, "send", lambda: True)
    open_shop()
    refusals.begin("all but the live one", 3)
    with pytest.raises(CommandError, match=FULL):
        reindex("--rebuild", "--here", "--index", IMAGES.name)
    keep_shop()
    go_on()
    report, code = status_json()
    assert code == 1
    [building] = the_index(report)["building"]
    assert FULL in building["error"]
    assert any(FULL in each["detail"] for each in report["problems"] if each["level"] == "work")
    refusals.end()
    reindex("--resume", "--here", "--index", IMAGES.name)
    assert shop_and_live_agree()
    assert not Collection.objects.of(IMAGES).unfinished().exists()
