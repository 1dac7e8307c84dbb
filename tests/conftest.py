"""Fixtures every test may use. Real servers are in tests/services/, one file each."""

import os

import pytest
from hypothesis import HealthCheck, settings

from shopsearch import conf

# Playwright keeps an event loop in the test's thread.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

# A slow machine fails no test. The same examples in each run; `make test-shuffled` looks for others.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("default"), derandomize=True)
settings.load_profile(os.environ.get("SHOPSEARCH_TEST_HYPOTHESIS", "repeatable"))

for contract in (
    "embedders.contract",
    "vector_stores.contract",
    "vector_stores.filter_contract",
    "vector_stores.words_contract",
):
    pytest.register_assert_rewrite(f"tests.{contract}")

pytest_plugins = [
    "tests.services.milvus",
    "tests.services.milvus_standalone",
    "tests.services.model_server",
    "tests.services.redis",
    "tests.services.transformers_serve",
    "tests.services.celery",
    "tests.services.postgres",
    "tests.services.catalogue",
]


@pytest.fixture(autouse=True)
def _nothing_of_the_shops_own_code_has_failed_yet():
    """It is logged once for each product, and another test's product has the same key."""
    from shopsearch.registry.index import failures

    failures.forget()


if conf.missing_packages("torch"):  # as in `make test-matrix`
    collect_ignore_glob = [
        *("browser", "commands/test_models.py", "contrib/test_oscar.py", "demo/test_training.py"),
        *(
            "embedders/magiclens/*",
            "embedders/photos/*",
            "embedders/two_tower/*",
            "embedders/visualized_bge/*",
        ),
        *("embedders/test_bge_vl.py", "embedders/test_sentence_transformer.py", "rerankers/*", "services/*"),
    ]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(item):
        """A test that needs a model skips, and names the line that would install it."""
        try:
            return (yield)
        except Exception as error:
            is_missing = isinstance(error, ModuleNotFoundError) and error.name in conf.EXTRAS
            if is_missing or "pip install 'shopsearch[models]'" in str(error):
                pytest.skip(str(error))
            raise

    pytest_runtest_setup = pytest_runtest_call


@pytest.fixture(autouse=True)
def _the_tests_celery_application():
    """Whatever other projects a test has imported: the last one's application would be the current one."""
    from tests.services.celery import app

    app.set_current()
