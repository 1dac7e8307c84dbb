"""A catalogue in the format of Amazon Reviews 2023, its pictures on a server of the tests, a part of them bad."""

import gzip
import json
from itertools import cycle

FAULTS = {
    "missing": "the server answered 404",
    "half": "the connection failed",
    "html": "not a picture",
    "hangs-up": "the connection failed",
    "redirect": "not on the public internet",
    "half-unsaid": "not a picture",
    "loop": "more than 3 redirects",
    "busy": "the server answered 503",
    "garbage": "the connection failed",
    "silent": "no answer",
}
"""What an address does, and what the import says of it; the tenth costs seconds, so 90 records have nine."""
NEXT = {"redirect": "?to=http://127.0.0.2/a.jpg"}


class Catalogue:
    """So many records, every other one as the builder has it, a tenth with an address that fails."""

    def __init__(self, server, records, *, broken_lines=()):
        self.faults = {}
        """Kind of failure by address."""
        self.good = []
        self.lines = []
        faults = cycle(FAULTS)
        for number in range(records):
            behaviour = "good"
            if number % 10 == 3:
                behaviour = next(faults)
            elif number % 20 == 7:
                behaviour = "busy-once"
            name = f"51{number:05}X+L._AC_.jpg"
            address = f"{server.address}/{behaviour}/images/I/{name}{NEXT.get(behaviour, '')}"
            if behaviour in FAULTS:
                self.faults[address] = FAULTS[behaviour]
            else:
                self.good.append(address)
            record = _record(number, address)
            self.lines.append(json.dumps(_as_the_builder_has_it(record) if number % 2 else record))
        for place, line in broken_lines:
            self.lines.insert(place, line)

    def write(self, path):
        content = ("\n".join(self.lines) + "\n").encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path


def sku_of(number):
    return f"B0{number:08}"


def review(number, *addresses):
    images = [
        {
            "small_image_url": f"{address}?small",
            "medium_image_url": f"{address}?medium",
            "large_image_url": address,
            "attachment_type": "IMAGE",
        }
        for address in addresses
    ]
    return {
        "rating": 5.0,
        "title": "Yes!",
        "text": "Smells good,<br />feels great!",
        "images": images,
        "asin": f"B1{number:08}",
        "parent_asin": sku_of(number),
        "user_id": "AE74DYR3QUGVPZJ3P7RFWBGIX7XQ",
        "timestamp": 1589665266052,
        "helpful_vote": -2,
        "verified_purchase": True,
    }


def _record(number, address):
    pictures = [{"thumb": f"{address}?thumb", "large": address, "variant": "MAIN", "hi_res": None}]
    if number % 3 == 0:
        other = {"thumb": None, "large": f"{address}?other", "variant": "PT01", "hi_res": f"{address}?hi_res"}
        pictures.insert(0, other)
    return {
        "main_category": ("All Electronics", "Cell Phones & Accessories", None)[number % 3],
        "title": f"Leather case number {number}",
        "average_rating": 4.5,
        "rating_number": 12,
        "features": ["Genuine leather"] * (number % 2),
        "description": ["A case."] * (number % 4),
        "price": 19.5 + number % 50 if number % 3 else None,
        "images": pictures,
        "videos": [{"title": "See", "url": "https://videos.example/1", "user_id": ""}],
        "store": f"Store {number % 7}" if number % 5 else None,
        "categories": ["Electronics", "Accessories", "Cases"] if number % 4 else [],
        "details": {"Brand": "Kerb", "Best Sellers Rank": {"Cases": number + 1, "Electronics": 70_000}},
        "parent_asin": sku_of(number),
        "bought_together": None,
    }


def _as_the_builder_has_it(record):
    columns = ("hi_res", "large", "thumb", "variant")
    return record | {
        "price": str(record["price"]),
        "images": {name: [picture[name] for picture in record["images"]] for name in columns},
        "videos": {name: [video[name] for video in record["videos"]] for name in ("title", "url", "user_id")},
        "details": json.dumps(record["details"]),
        "subtitle": None,
        "author": None,
    }
