"""``manage.py reference``: the run of the Milvus article, with an archive like its own but of a few drawn pictures."""

import io
import re
import subprocess
import sys
import tarfile

import pytest

from demo_project.catalog import amazon_pictures
from demo_project.catalog.amazon_pictures import PictureFolder, unpacked
from demo_project.catalog.assortment import articles
from tests.services.demo import ROOT, environment_of

LEOPARD = ROOT / "demo_project" / "pictures" / "leopard.jpg"


def archive_of(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def photographs():
    """Two leopard phone cases, four others, and six other things in a leopard's or another's pattern."""
    cases = [each for each in articles() if each.category == "phone_case"]
    others = [each for each in articles() if each.category != "phone_case"]
    chosen = [
        *[each for each in cases if each.pattern == "leopard"][:2],
        *[each for each in cases if each.pattern in ("plaid", "dots", "floral", "marble")][:4],
        *[each for each in others if each.pattern == "leopard"][:2],
        *[each for each in others if each.pattern != "leopard"][:2],
    ]
    return {
        f"images_folder/images/{each.category}-{each.pattern}-{number}._AC_.jpg": each.photograph()
        for number, each in enumerate(chosen)
    }


@pytest.mark.services
def test_from_the_archive_to_the_leopards_phone_cases_in_one_command(tmp_path):
    archive = archive_of(
        tmp_path / "amazon_reviews_2023_subset.tar.gz",
        {"images_folder/leopard.jpg": LEOPARD.read_bytes(), **photographs()},
    )
    run = subprocess.run(
        [sys.executable, "manage.py", "reference", archive, "--one-process"],
        cwd=ROOT,
        env=environment_of(tmp_path / "demo"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "10 products, 10 of them new, 10 pictures added" in run.stdout
    found, better = re.split(r"In the better order, after .* s:\n", run.stdout.split("Found in")[1])
    first = re.findall(r"^  (\d)\. Product (\S+)", found, re.MULTILINE)
    last = re.findall(r"^  (\d)\. Product (\S+)  \S+ \(was (\d)\)", better, re.MULTILINE)
    assert [rank for rank, _ in first] == [rank for rank, _, _ in last] == list("123456789")
    # The better order is of the same nine, none missing, each where it says that it was.
    assert {(was, name) for _, name, was in last} == set(first)
    assert all(name.startswith("phone_case-leopard") for _, name, _ in last[:2])
    assert "Why: " in better


HOSTILE = {
    "../escape.jpg": b"1",
    "/absolute.jpg": b"2",
    "images_folder/images/../../../up.jpg": b"3",
    "images_folder/images/.hidden.jpg": b"4",
    "images_folder/images/program.sh": b"5",
    "images_folder/images/large.jpg": b"6" * 11_000_000,
    "images_folder/images/good.jpg": b"7",
}


def test_an_archive_writes_nothing_outside_its_folder(tmp_path):
    archive = archive_of(tmp_path / "hostile.tar.gz", HOSTILE)
    with tarfile.open(tmp_path / "links.tar", "w") as links:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo("images/link.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            links.addfile(member)
    beside = tmp_path / "beside"
    beside.mkdir()
    with unpacked(archive, beside) as folder:
        written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert written == {"escape.jpg", "absolute.jpg", "up.jpg", "images/good.jpg"}
        assert set(PictureFolder(folder / "images").files) == {"good.jpg"}
    with unpacked(tmp_path / "links.tar", beside) as folder:
        assert list(folder.rglob("*")) == []
    assert list(beside.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"hostile.tar.gz", "links.tar", "beside"}


@pytest.mark.parametrize("name", ["a{}.jpg", "notes{}.txt"])
@pytest.mark.parametrize(("limit", "value"), [("MAX_ARCHIVE_BYTES", 2_999), ("MAX_ARCHIVE_FILES", 2)])
def test_an_archive_is_refused_that_unpacks_to_more_than_the_limits_in_all(
    tmp_path, monkeypatch, name, limit, value
):
    archive = archive_of(tmp_path / "bomb.tar.gz", {name.format(number): bytes(1_000) for number in range(3)})
    beside = tmp_path / "beside"
    beside.mkdir()
    with unpacked(archive, beside):
        pass
    monkeypatch.setattr(amazon_pictures, limit, value)
    with pytest.raises(tarfile.ReadError, match="unpack it yourself"), unpacked(archive, beside):
        pass
    assert not list(beside.iterdir())


@pytest.mark.parametrize("command", ["reference", "import_amazon_reviews"])
def test_what_is_no_archive_is_said(command, tmp_path):
    (tmp_path / "broken.tar.gz").write_bytes(b"\x1f\x8b broken")
    arguments = ["broken.tar.gz"] if command == "reference" else ["--images", "broken.tar.gz"]
    run = subprocess.run(
        [sys.executable, ROOT / "manage.py", command, *arguments],
        cwd=tmp_path,
        env=environment_of(tmp_path / "demo"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "broken.tar.gz" in run.stderr
    assert "Traceback" not in run.stderr
