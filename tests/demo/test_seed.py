"""``manage.py seed``: fills the shop, changes nothing the second time, goes on where it was stopped, and refuses."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from decimal import Decimal
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from demo_project.catalog.supplies import SupplyError, from_folder, opened, rendered
from tests.services.demo import ROOT, environment_of
from tests.services.waiting import wait_until


class Shop:
    """The demo's shop in a folder of its own, filled as a user fills it: by `manage.py seed`."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = environment_of(folder)
        self.manage("migrate", "--verbosity", "0")

    def manage(self, *arguments):
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
        )

    def seed(self, *arguments):
        done = self.manage("seed", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rows(self, query):
        with sqlite3.connect(self.folder / "shop.sqlite3") as database:
            return database.execute(query).fetchall()

    def forget(self, *statements):
        with sqlite3.connect(self.folder / "shop.sqlite3") as database:
            for statement in statements:
                database.execute(statement)

    def state(self):
        """Everything a second run could change: rows, what is noted of them, files and their moments."""
        media = self.folder / "media"
        return (
            self.rows("SELECT * FROM catalog_product ORDER BY id"),
            self.rows("SELECT * FROM shopsearch_productimage ORDER BY id"),
            self.rows("SELECT id, image_id, is_deletion FROM shopsearch_change ORDER BY id"),
            {path.name: path.stat().st_mtime_ns for path in sorted(media.rglob("*")) if path.is_file()},
        )


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / "demo"
    folder.mkdir()
    return Shop(folder)


def test_seeding_draws_products_and_notes_them_and_a_second_run_changes_nothing(shop):
    assert "3 products, 3 of them new, 3 pictures added" in shop.seed("--limit", "3")
    before = shop.state()
    products, images, changes, files = before

    assert (len(products), len(images), len(changes), len(files)) == (3, 3, 3, 3)
    for name in files:
        assert Image.open(next((shop.folder / "media").rglob(name))).size == (400, 400)

    assert "3 products, nothing to do" in shop.seed("--limit", "3")
    assert shop.state() == before


def test_an_interrupted_seeding_goes_on_where_it_was(shop):
    shop.seed("--limit", "4")
    complete = shop.state()
    # As after a kill between two pictures: a row is missing whose half-written file is there, and a file of a row.
    [(row, name), (_, other)] = shop.rows("SELECT id, image FROM shopsearch_productimage ORDER BY id LIMIT 2")
    shop.forget(
        f"DELETE FROM shopsearch_productimage WHERE id = {row}",
        "DELETE FROM shopsearch_change",
    )
    (shop.folder / "media" / name).write_bytes(b"half a pic")
    (shop.folder / "media" / other).unlink()

    assert "4 products, 0 of them new, 2 pictures added" in shop.seed("--limit", "4")

    products, images, changes, files = shop.state()
    assert products == complete[0]
    assert sorted(image[1] for image in images) == sorted(image[1] for image in complete[1])
    assert len({image_id for _, image_id, _ in changes}) == 2
    assert set(files) == set(complete[3])
    assert Image.open(shop.folder / "media" / name).size == (400, 400)


def test_ctrl_c_while_pictures_are_drawn_ends_in_one_line(shop):
    drawing = subprocess.Popen(
        [sys.executable, "manage.py", "seed"],
        cwd=ROOT,
        env=shop.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Also where the tests run in the background, which ignores Ctrl-C for all that is started there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(
        lambda: shop.rows("SELECT 1 FROM shopsearch_productimage LIMIT 1"), "a picture is drawn", seconds=180
    )
    os.killpg(drawing.pid, signal.SIGINT)  # as a terminal does: to every process
    _, said = drawing.communicate(timeout=120)
    assert said.strip() == "Stopped. Run it again, and it goes on where it was."
    assert drawing.returncode == 130


def test_pictures_drawn_by_other_processes_are_the_same_and_in_order():
    pictures = [picture for supply in rendered(6) for picture in supply.pictures]

    with opened(pictures) as here, opened(pictures, processes=2) as elsewhere:
        assert list(here) == list(elsewhere)


# A folder of somebody's own products.


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "own"
    (folder / "images").mkdir(parents=True)
    for name in ("a.jpg", "b.png"):
        file = BytesIO()
        Image.new("RGB", (8, 8), "red").save(file, "JPEG" if name == "a.jpg" else "PNG")
        (folder / "images" / name).write_bytes(file.getvalue())
    return folder


PRODUCT = {
    "id": "my:chair",
    "name": "Chair",
    "price": 12.5,
    "categories": ["Furniture/Seats"],
    "image": "images/a.jpg",
    "images": ["images/a.jpg", "images/b.png"],
}


def write(folder, *products):
    lines = [product if isinstance(product, str) else json.dumps(product) for product in products]
    (folder / "products.jsonl").write_text("\n".join(lines), encoding="utf-8")


def test_a_folder_of_ones_own_is_loaded_with_all_its_pictures_once(shop, folder):
    write(folder, PRODUCT, "", {**PRODUCT, "id": "my:stool", "name": "Stool", "images": None, "brand": "Oak"})

    assert "2 products, 2 of them new, 3 pictures added" in shop.seed("--images", str(folder))

    before = shop.state()
    assert shop.rows("SELECT title, price, brand FROM catalog_product ORDER BY id") == [
        ("Chair", 12.5, ""),
        ("Stool", 12.5, "Oak"),
    ]
    assert shop.rows("SELECT name, slug FROM catalog_category") == [("Furniture", "furniture")]
    assert shop.rows("SELECT image FROM shopsearch_productimage ORDER BY id") == [
        ("products/my-chair-1.jpg",),
        ("products/my-chair-2.png",),
        ("products/my-stool-1.jpg",),
    ]
    assert "nothing to do" in shop.seed("--images", str(folder))
    assert shop.state() == before


def test_a_folder_that_cannot_be_loaded_is_refused_in_one_sentence_and_changes_nothing(shop, folder):
    write(folder, PRODUCT, "{")

    refused = shop.manage("seed", "--images", str(folder))

    assert refused.returncode == 1
    assert refused.stderr.strip() == "CommandError: products.jsonl, line 2: not a JSON object."
    assert shop.rows("SELECT count(*) FROM catalog_product") == [(0,)]


def test_a_folder_without_a_list_of_products_is_refused(folder):
    with pytest.raises(SupplyError, match=r"no products\.jsonl in .*own"):
        from_folder(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"images": ["../secret.jpg"]}, "the picture '../secret.jpg' lies outside the folder"),
        ({"images": ["/etc/passwd"]}, "the picture '/etc/passwd' lies outside the folder"),
        ({"images": ["images/link.jpg"]}, "the picture 'images/link.jpg' lies outside the folder"),
        ({"images": ["images/none.jpg"]}, "there is no picture 'images/none.jpg'"),
        ({"images": ["images"]}, "there is no picture 'images'"),
        ({"images": ["a\0.jpg"]}, "is not a path"),
        ({"images": ["x" * 5000]}, "is not a path"),
        ({"images": [], "image": None}, "it has no pictures"),
        ({"images": "images/a.jpg"}, "it has no pictures"),
        ({"id": None}, '"id" is not a text'),
        ({"id": "::"}, '"id" needs letters or digits'),
        ({"name": " "}, '"name" is not a text'),
        ({"name": "\ud800"}, '"name" has characters'),
        ({"price": "12"}, '"price" is not a number'),
        ({"price": -1}, '"price" is not a number'),
        ({"price": float("nan")}, '"price" is not a number'),
        ({"price": 1e300}, '"price" is not a number'),
        ({"categories": "Seats"}, '"categories" is not a list'),
    ],
)
def test_a_line_that_is_not_as_it_should_be_is_named_with_what_is_wrong(folder, change, sentence):
    (folder.parent / "secret.jpg").write_bytes(b"secret")
    (folder / "images" / "link.jpg").symlink_to(folder.parent / "secret.jpg")
    write(folder, PRODUCT, {**PRODUCT, "id": "second", **change})

    with pytest.raises(SupplyError) as error:
        from_folder(folder)

    assert str(error.value).startswith("products.jsonl, line 2: ")
    assert sentence in str(error.value)


def test_two_products_of_one_id_are_refused(folder):
    write(folder, PRODUCT, {**PRODUCT, "id": "My Chair"})

    with pytest.raises(SupplyError, match=r"line 2: its id is that of line 1\."):
        from_folder(folder)


def test_a_line_separator_within_a_name_does_not_end_the_line(folder):
    write(folder, json.dumps({**PRODUCT, "name": "Two\u2028lines"}, ensure_ascii=False))

    [supply] = from_folder(folder)

    assert (supply.title, supply.price, len(supply.pictures)) == ("Two\u2028lines", Decimal("12.50"), 2)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(change=st.dictionaries(st.sampled_from([*PRODUCT, "description", "brand"]), json_values))
def test_whatever_a_line_says_it_is_loaded_or_refused_with_its_number(tmp_path_factory, change):
    folder = tmp_path_factory.mktemp("any")
    (folder / "images").mkdir()
    for name in ("a.jpg", "b.png"):
        (folder / "images" / name).touch()
    write(folder, {**PRODUCT, **change})

    refusal, supplies = "", []
    try:
        supplies = from_folder(folder)
    except SupplyError as error:
        refusal = str(error)

    assert refusal.startswith("products.jsonl, line 1: ") or len(supplies) == 1
    for supply in supplies:
        assert supply.title.encode()
        assert supply.slug
        assert 0 <= supply.price < 10**8
        assert supply.pictures
