"""A shopper's side of a rerank, as a process: ``ask`` for one, ``look`` at it by its id, or ``wait_out`` its time."""

import json
import sys

import django


def ask():
    from PIL import Image

    from shopsearch import broker
    from shopsearch.models import ProductImage
    from shopsearch.registry import index_for
    from shopsearch.search import reranking
    from shopsearch.search.request import SearchAnswer, SearchRequest
    from shopsearch.types import Query, Result
    from tests.shop.pictures import BLUE, RED, product

    images = [product(colour).images.get() for colour in (RED, BLUE)]
    results = [
        Result(rank=rank, score=1 / rank, product=image.product, image=image)
        for rank, image in enumerate(images, 1)
    ]
    query = Query(text="mug", image=Image.new("RGB", (40, 40), RED))
    index = index_for(ProductImage)
    page = SearchAnswer(
        request=SearchRequest(), index=index, query=query, results=tuple(results), offset=0, limit=24
    )
    rerank = reranking.request(index, page)
    broker.send(broker.RERANK_TASK)
    return {"id": str(rerank.pk)}


def look(rerank_id):
    from shopsearch.models import Rerank
    from shopsearch.search import reranking

    rerank = reranking.current(rerank_id)
    kept = Rerank.objects.filter(pk=rerank_id, picture__isnull=False).exists()
    return {"state": rerank.state, "order": len(rerank.order), "picture": kept}


def wait_out(rerank_id):
    """As if its deadline had come, which takes a loaded machine no longer than an idle one."""
    from datetime import timedelta

    from django.db.models import F

    from shopsearch.models import Rerank

    Rerank.objects.filter(pk=rerank_id).update(deadline_at=F("deadline_at") - timedelta(days=1))
    return {}


if __name__ == "__main__":
    django.setup()
    import tests.services.celery  # noqa: F401  # the project's Celery application

    print(json.dumps({"ask": ask, "look": look, "wait_out": wait_out}[sys.argv[1]](*sys.argv[2:])))
