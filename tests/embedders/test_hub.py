"""Downloads from the hub, against a stand-in of it."""

import random

import pytest
from django.core.exceptions import ImproperlyConfigured

pytest.importorskip("huggingface_hub")
from huggingface_hub.constants import DOWNLOAD_CHUNK_SIZE

from shopsearch.embedders.hub import download_into
from tests.services.hub import Hub, ask

NAME = "authors/model"
FILES = {"config.json": b"{}", "model.safetensors": random.Random(1).randbytes(300_000), "other.bin": b"x"}
WANTED = ("config.json", "*.safetensors")


@pytest.fixture
def hub(monkeypatch):
    with Hub(repositories={NAME: dict(FILES)}) as hub:
        ask(hub, monkeypatch)
        yield hub


def refusal(folder, name=NAME):
    with pytest.raises(ImproperlyConfigured) as raised:
        download_into(folder, name, "", WANTED)
    return str(raised.value)


def test_the_files_that_are_wanted_arrive_as_they_were_published(hub, tmp_path):
    download_into(tmp_path, NAME, "", WANTED)
    here = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert here == {name: FILES[name] for name in ("config.json", "model.safetensors")}


def test_what_is_there_is_not_downloaded_again(hub, tmp_path):
    download_into(tmp_path, NAME, "", WANTED)
    hub.requests.clear()
    download_into(tmp_path, NAME, "", WANTED)
    assert not [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]


def test_a_download_that_breaks_off_goes_on_where_it_was(hub, tmp_path):
    weights = random.Random(2).randbytes(DOWNLOAD_CHUNK_SIZE + 2_000)
    hub.repositories[NAME]["model.safetensors"] = weights
    hub.breaks_after = DOWNLOAD_CHUNK_SIZE + 1_000
    download_into(tmp_path, NAME, "", WANTED)
    assert (tmp_path / "model.safetensors").read_bytes() == weights
    assert [span for _, _, span in hub.requests if span] == [f"bytes={DOWNLOAD_CHUNK_SIZE}-"]


def test_a_file_with_another_checksum_is_removed_and_named(hub, tmp_path):
    hub.damages = True
    assert "model.safetensors of authors/model arrived with another checksum" in refusal(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    hub.damages = False
    download_into(tmp_path, NAME, "", WANTED)
    assert (tmp_path / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_another_models_file_of_the_same_name_in_the_folder_is_left_alone(hub, tmp_path):
    (tmp_path / "other.bin").write_bytes(b"another model's")
    download_into(tmp_path, NAME, "", WANTED)
    assert (tmp_path / "other.bin").read_bytes() == b"another model's"


def test_a_gated_repository_says_where_to_accept_its_terms(hub, tmp_path):
    hub.gated.add(NAME)
    assert "open only to those who accepted its terms" in refusal(tmp_path)


def test_a_repository_that_does_not_exist_is_named(hub, tmp_path):
    assert "The hub has no authors/nothing" in refusal(tmp_path, "authors/nothing")


def test_without_a_network_it_says_how_to_go_on(hub, tmp_path):
    hub.__exit__()
    assert "cannot be downloaded" in (said := refusal(tmp_path))
    assert f"copy the files from a machine that reaches the hub into {tmp_path}" in said
