"""The starter for photographs: its vectors, and the weights that come inside packages."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from PIL import Image, ImageDraw

from shopsearch import conf
from shopsearch.embedders.catalogue import PHOTOS, known
from shopsearch.embedders.photos import PhotoStarter, colours, embedder, learned, network, patterns, wheels
from shopsearch.embedders.photos.wheels import ENGLISH, MULTILINGUAL, NETWORK
from shopsearch.types import Query
from tests.embedders.contract import EmbedderContract, picture

installed = pytest.mark.skipif(
    not (NETWORK.is_installed() and ENGLISH.is_installed()), reason='pip install "shopsearch[photos]"'
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("photos")


@pytest.fixture(scope="module")
def starter(cache: Path) -> PhotoStarter:
    return PhotoStarter(cache=str(cache))


def shirt(colour: str) -> Image.Image:
    """A plain shape of one colour on white."""
    image = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(image).polygon([(50, 40), (150, 40), (190, 90), (150, 90), (150, 180), (50, 180)], colour)
    return image


@installed
class TestEnglish(EmbedderContract):
    backend = PHOTOS

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def options_of_the_cache(cls, cache: Path) -> None:
        cls.options = {"cache": str(cache)}


@pytest.mark.skipif(
    not (NETWORK.is_installed() and MULTILINGUAL.is_installed()),
    reason='pip install "shopsearch[photos-multilingual]"',
)
class TestMultilingual(EmbedderContract):
    backend = PHOTOS

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def options_of_the_cache(cls, cache: Path) -> None:
        cls.options = {"cache": str(cache), "language": "multilingual"}


@installed
def test_a_vector_fits_into_every_store(starter):
    assert starter.dimension <= 1_024
    assert starter.dimension == known("photos").dimension


def test_the_two_languages_are_two_spaces():
    assert PhotoStarter().space != PhotoStarter(language="multilingual").space


@installed
@pytest.mark.parametrize("colour", ["red", "blue", "green", "yellow", "black"])
def test_a_colour_word_beside_a_picture_changes_its_colour(starter, colour):
    dyed = ("red", "blue", "green", "yellow", "black")
    stored = starter.embed([Query(image=shirt(each)) for each in dyed])
    asked = starter.embed([Query(image=shirt("white"), text=f"the same in {colour}")])[0]
    assert dyed[int(np.argmax(stored @ asked))] == colour


@installed
def test_a_picture_is_nearer_to_itself_made_smaller_than_to_another(starter):
    first, small, other = starter.embed(
        [
            Query(image=picture(1, (900, 700))),
            Query(image=starter.reduced(picture(1, (900, 700)))),
            Query(image=picture(2)),
        ]
    )
    assert first @ small > 0.999
    assert first @ other < 0.95


@installed
def test_reducing_a_reduced_picture_changes_nothing(starter):
    once = starter.reduced(picture(1, (900, 400)))
    assert max(once.size) == embedder.SIZE
    assert starter.reduced(once).tobytes() == once.tobytes()


def test_words_of_colours_and_patterns_are_read_in_several_languages():
    for text, name in {
        "red mug": "red",
        "roter Becher": "red",
        "camisa azul": "blue",
        "gul tröja": "yellow",
    }.items():
        assert colours.NAMES[int(np.argmax(colours.asked(text)))] == name
    for text, name in {
        "striped shirt": "stripes",
        "Leopard print": "leopard",
        "gestreift": "stripes",
    }.items():
        assert patterns.NAMES[int(np.argmax(patterns.asked(text)))] == name
    assert not colours.asked("mug").any()
    assert not patterns.asked("mug").any()


# Where the weights come from


@installed
def test_the_converted_weights_are_kept_with_their_licence_and_where_they_came_from(starter, cache):
    starter.prepare()
    for wheel in (NETWORK, ENGLISH):
        folder = wheel.folder(cache)
        assert (folder / "model.safetensors").is_file()
        assert wheel.licence.partition(";")[0] in (folder / "LICENCE.txt").read_text()
        told = json.loads((folder / "provenance.json").read_text())
        assert told["source"] == wheel.source
        assert told["sha256 of the package's files"] == dict(wheel.files)


@installed
@pytest.mark.parametrize("wheel", [NETWORK, ENGLISH], ids=lambda wheel: wheel.name)
def test_a_changed_byte_in_a_packages_weights_is_refused_with_a_sentence(wheel, tmp_path, monkeypatch):
    package = tmp_path / "site" / wheel.package
    for file in wheel.files:
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(wheel.path(file), package / file)
    weights = package / next(iter(wheel.files))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    monkeypatch.setattr(type(wheel), "path", lambda self, file: package / file)
    with pytest.raises(ImproperlyConfigured, match=r"is not the file of .* and is not loaded"):
        wheel.prepare(tmp_path / "cache", lambda path: pytest.fail("it was read"))
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())


@installed
def test_a_changed_byte_in_the_cache_is_refused_with_a_sentence(tmp_path):
    NETWORK.prepare(tmp_path, network.read_checkpoint)
    weights = NETWORK.folder(tmp_path) / wheels.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ImproperlyConfigured, match="has changed since it was made"):
        NETWORK.load(tmp_path, network.read_checkpoint)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, ("/nowhere/at/all",)


def test_a_checkpoint_that_asks_for_code_is_not_run(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"_fc.weight": Bomb()}, path)
    with pytest.raises(pickle.UnpicklingError):
        network.read_checkpoint(path)


@installed
def test_once_prepared_it_needs_neither_the_packages_nor_a_network(starter, cache, monkeypatch):
    expected = starter.embed([Query(text="mug"), Query(image=picture(1))])
    monkeypatch.setattr(wheels, "find_spec", lambda name: None)
    monkeypatch.setattr(socket.socket, "connect", lambda *args: pytest.fail("it asks the network"))
    again = PhotoStarter(cache=str(cache))
    assert NETWORK.package not in again.packages
    np.testing.assert_array_equal(again.embed([Query(text="mug"), Query(image=picture(1))]), expected)


def test_a_missing_package_is_named_with_the_line_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "find_spec", lambda name: None)
    absent = PhotoStarter(cache=str(tmp_path), language="multilingual")
    assert [conf.EXTRAS[package] for package in absent.packages[-2:]] == ["photos", "photos-multilingual"]
    with pytest.raises(ImproperlyConfigured, match=r"is not installed: pip install 'shopsearch\[photos\]'"):
        absent.embed([Query(text="mug")])


@installed
def test_a_cache_that_cannot_be_written_is_told_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImproperlyConfigured, match="shopsearch_models prepare photos FOLDER"):
        PhotoStarter(cache=str(tmp_path / "file" / "cache")).prepare()


def test_wrong_options_are_named_by_check():
    wrong = PhotoStarter(language="klingon", batch_size=0)  # type: ignore[arg-type]
    assert [problem.id for problem in wrong.check()] == ["shopsearch.E020"] * 2


def test_what_was_learnt_is_small_and_part_of_the_space(tmp_path, monkeypatch):
    files = list(learned.FOLDER.iterdir())
    assert sum(file.stat().st_size for file in files) < 3_500_000
    before = PhotoStarter().space
    monkeypatch.setattr(learned, "FILE", tmp_path / "other")
    learned.FILE.write_bytes(b"other")
    assert PhotoStarter().space != before


def test_eight_bits_a_number_are_nearly_as_good(tmp_path):
    from safetensors.numpy import save_file

    numbers = np.random.default_rng(5).normal(size=(300, 384)).astype(np.float32)
    save_file(learned.packed({"large": numbers, "small": numbers[0]}), tmp_path / "file")
    again = learned.unpacked(tmp_path / "file")
    assert np.abs(again["large"] - numbers).max() < 0.03
    np.testing.assert_array_equal(again["small"], numbers[0])


# Chosen without being named


def test_it_is_the_default_where_its_packages_are_and_the_bundled_model_is_elsewhere(monkeypatch):
    monkeypatch.setattr(conf, "find_spec", lambda name: object())
    assert conf.default_embedder() == PHOTOS
    monkeypatch.setattr(conf, "find_spec", lambda name: None)
    assert conf.default_embedder().endswith("VisualizedBGE")
    assert set(conf.STARTER_PACKAGES) == {NETWORK.package, ENGLISH.package}


@installed
def test_the_command_prepares_a_folder_and_prints_the_setting(tmp_path):
    output = io.StringIO()
    call_command("shopsearch_models", "prepare", "photos", str(tmp_path / "kept"), stdout=output)
    setting = json.loads(output.getvalue().partition("SHOPSEARCH = ")[2])["EMBEDDER"]
    assert setting == {"BACKEND": PHOTOS, "OPTIONS": {"cache": str(tmp_path / "kept")}}
    assert NETWORK.is_ready(tmp_path / "kept")


def test_it_is_not_to_be_downloaded_from_a_hub(tmp_path):
    with pytest.raises(CommandError, match=r'pip install "shopsearch\[photos\]"'):
        call_command("shopsearch_models", "download", "photos", str(tmp_path))


def test_a_wheel_of_other_files_has_another_folder(tmp_path):
    other = replace(NETWORK, files=dict.fromkeys(NETWORK.files, "0" * 64))
    assert other.folder(tmp_path) != NETWORK.folder(tmp_path)
