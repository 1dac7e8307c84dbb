"""What a distribution says of itself."""

import re
import tomllib

from tests import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_in_a_distribution_every_link_of_the_readme_is_an_address():
    text = (ROOT / "README.md").read_text()
    for rule in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 20
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    source = PYPROJECT["project"]["urls"]["Source"]
    own = [link.removeprefix(source).partition("#")[0] for link in links if link.startswith(source)]
    assert [name for name in own if not (ROOT / name).exists()] == []


def test_the_matrix_runs_each_django_and_python_that_the_package_names():
    envs = (ROOT / "tox.ini").read_text()
    for classifier in PYPROJECT["project"]["classifiers"]:
        if version := re.fullmatch(
            r"(?:Framework :: Django|Programming Language :: Python) :: (\d)\.(\d+)", classifier
        ):
            assert version[1] + version[2] in envs
