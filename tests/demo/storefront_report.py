"""Run as a process of the demo: indexes every picture, searches each by itself, and prints what it found as JSON.

With ``--only-index`` nothing is searched.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any


def report() -> dict[str, Any]:
    from shopsearch import images
    from shopsearch.indexing import progress
    from shopsearch.indexing.batch import index_pending
    from shopsearch.models import ProductImage
    from shopsearch.search.engine import search

    embedded = sum(batch.embedded for batch in index_pending())
    found = []
    searched = ProductImage.objects.select_related("product")
    for row in searched if "--only-index" not in sys.argv else ():
        content = row.image.read()
        results = search(image=images.decode(content), limit=5).results
        found.append(
            {
                "picture": row.image.name,
                "product": row.product.slug,
                "file": hashlib.sha256(content).hexdigest(),
                "results": [(result.product.slug, result.score) for result in results],
            }
        )
    return {"embedded": embedded, "states": progress.counts(), "found": found}


if __name__ == "__main__":
    import django

    django.setup()
    sys.stdout.write(json.dumps(report()))
