"""The admin of synonyms: edited one by one, or by a CSV file."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from shopsearch.models import Synonym

pytestmark = pytest.mark.django_db
ADDRESS = "/admin/shopsearch/synonym/"


def csv(content):
    return {"file": SimpleUploadedFile("synonyms.csv", content)}


def test_a_synonym_is_added_and_one_without_words_is_not(staff):
    client = staff("add_synonym", "view_synonym")
    client.post(f"{ADDRESS}add/", {"words": " running  shoes", "meanings": "trainers", "language": "en"})
    assert [str(each) for each in Synonym.objects.all()] == ["running shoes → trainers"]
    page = client.post(
        f"{ADDRESS}add/", {"words": "?!", "meanings": "trainers", "language": ""}
    ).content.decode()
    assert "Write words." in page
    assert Synonym.objects.count() == 1


def test_a_file_is_imported_whole_or_not_at_all_and_exported(staff):
    client = staff("add_synonym", "change_synonym", "view_synonym")
    Synonym.objects.create(words="shoes", meanings="boots", language="en")
    page = client.post(f"{ADDRESS}import/", csv(b"words,meanings\nhat,cap\nmug,\n")).content.decode()
    assert "Line 3 lacks words or meanings." in page
    assert Synonym.objects.count() == 1
    content = b"language,words,meanings,two_way\r\n,hat,cap,yes\r\nen,shoes,sneakers,no\r\n"
    page = client.post(f"{ADDRESS}import/", csv(content), follow=True).content.decode()
    assert "2 synonyms were imported." in page
    exported = client.get(f"{ADDRESS}export/")
    assert exported.content == content
    assert exported["Content-Type"] == "text/csv; charset=utf-8"


def test_only_who_may_write_synonyms_imports_them(staff):
    client = staff("view_synonym")
    assert "Import CSV" not in client.get(ADDRESS).content.decode()
    assert client.get(f"{ADDRESS}import/").status_code == 403
    assert client.post(f"{ADDRESS}import/", csv(b"words,meanings\nhat,cap\n")).status_code == 403
    assert client.get(f"{ADDRESS}export/").status_code == 200
