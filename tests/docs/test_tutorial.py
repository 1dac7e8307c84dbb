"""The tutorial, followed to the letter in an empty folder, over a real Milvus Lite server."""

import os
import re
import subprocess
import sys

import pytest

from tests import ROOT

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
FILE = re.compile(r"```python\n# (\S+\.py)\n(.*?)```", re.DOTALL)
SHELL_SESSION = re.compile(r"```python\n# a shell session\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"^\$ python (manage\.py .+)$", re.MULTILINE)


@pytest.mark.services
def test_a_newcomer_who_follows_the_tutorial_finds_the_leopard_case(tmp_path, milvus_lite):
    for name, text in FILE.findall(TUTORIAL):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    picture = ROOT / "demo_project" / "pictures" / "leopard.jpg"
    (tmp_path / "leopard_case.jpg").write_bytes(picture.read_bytes())
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "DJANGO_SETTINGS_MODULE": "myshop.settings",
        "SHOPSEARCH_MILVUS_URI": milvus_lite,
        "OMP_NUM_THREADS": "1",
    }

    def python(*arguments, given=None):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    commands = COMMAND.findall(TUTORIAL)
    served = [command for command in commands if "shopsearch_milvus_lite" in command]
    assert len(served) == 1, "the tutorial starts the vector store once; here the fixture does"
    for command in commands:
        if command.startswith(("manage.py makemigrations", "manage.py migrate", "manage.py check")):
            python(*command.split())
    sessions = SHELL_SESSION.findall(TUTORIAL)
    python("manage.py", "shell", given=sessions[0])
    # The worker of the tutorial, without its broker: --here does the work in this process.
    assert "manage.py shopsearch_reindex" in commands
    python("manage.py", "shopsearch_reindex", "--here")
    searches = sessions[1].replace("search(", "print(search(").replace(").results", ").results)")
    answers = python("manage.py", "shell", given=searches.replace("import print(search", "import search"))
    assert answers.count("Leopard phone case") >= 2
