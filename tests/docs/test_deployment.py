"""compose.yaml, Dockerfile and .env.example: every name in them is real, and no secret is."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from django.core.management import get_commands
from django.urls import reverse

from shopsearch.conf import DEFAULTS
from tests import ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
SECRETS = ("SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD")
EXAMPLE = dict(
    line.split("=", 1)
    for line in (ROOT / ".env.example").read_text().splitlines()
    if re.match(r"[A-Z_]+=", line)
)
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("shopsearch-")]


def words(name):
    return [str(word) for word in SERVICES[name]["command"]]


def compose_program():
    """Docker's compose, whichever is here; a test that needs it skips by name where there is none."""
    for program in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(program[0]):
            asked = subprocess.run([*program, "version"], capture_output=True, check=False)
            if asked.returncode == 0:
                return program
    pytest.skip("docker compose is not installed")


def config(environment, *arguments):
    hidden = {*EXAMPLE, "RERANKER_URL"}
    return subprocess.run(
        [*compose_program(), "--env-file", str(environment), *arguments, "config"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in hidden},
        capture_output=True,
        text=True,
        check=False,
    )


def test_docker_compose_accepts_it_and_fills_the_secrets_in(tmp_path):
    environment = tmp_path / "environment"
    environment.write_text("".join(f"{name}=filled-in\n" for name in SECRETS))
    run = config(environment, "--profile", "vllm")
    assert run.returncode == 0, run.stderr
    services = yaml.safe_load(run.stdout)["services"]
    assert set(services) == set(SERVICES)
    assert services["web"]["environment"]["REDIS_URL"] == "redis://:filled-in@redis:6379/0"


def test_docker_compose_refuses_to_start_without_secrets(tmp_path):
    environment = tmp_path / "environment"
    environment.write_text((ROOT / ".env.example").read_text())
    run = config(environment)
    assert run.returncode != 0
    assert "see .env.example" in run.stderr


def test_the_example_names_every_variable_and_no_secret():
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text()))
    named = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))
    assert used == named
    assert all(EXAMPLE[name] == "" for name in (*SECRETS, "METRICS_TOKEN"))


def test_a_secret_is_only_ever_a_variable_that_must_be_given():
    text = (ROOT / "compose.yaml").read_text()
    for name in SECRETS:
        uses = re.findall(rf"\${{{name}([^}}]*)}}", text)
        assert uses
        assert set(uses) == {":?see .env.example"}
    plain = re.findall(r"(?i)(?:password|secret|token)\w*: (.+)", text)
    assert plain
    assert all(value.startswith("${") for value in plain)


@pytest.mark.parametrize("name", list(SERVICES))
def test_what_a_service_waits_for_exists_and_says_when_it_is_ready(name):
    awaited = SERVICES[name].get("depends_on", {})
    assert set(awaited) <= set(SERVICES)
    for other, how in awaited.items() if isinstance(awaited, dict) else ():
        if how["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]
        else:
            assert SERVICES[other]["restart"] == "no"


@pytest.mark.parametrize("name", list(SERVICES))
def test_every_image_has_a_version(name):
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert image
    assert re.search(r"\d", tag), f"{name}: {image}:{tag}"
    assert tag != "latest"


@pytest.mark.parametrize("name", list(SERVICES))
def test_every_container_is_read_only_without_capabilities_and_has_a_limit_of_memory(name):
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert any(mount.partition(":")[0] == "/tmp" for mount in service["tmpfs"])


def test_without_debug_and_without_a_secret_key_nothing_starts(tmp_path):
    environment = environment_of_the_containers(tmp_path)
    for secret in ({}, {"SECRET_KEY": ""}):
        done = run("import django; django.setup()", {**environment, "SECRET_KEY": "", **secret, "DEBUG": "0"})
        assert done.returncode != 0
        assert "there is no SECRET_KEY" in done.stderr


def test_the_health_check_is_answered_whatever_the_shop_is_called(tmp_path):
    (url,) = re.findall(r"http://[^']+", SERVICES["web"]["healthcheck"]["test"][-1])
    program = f"""
from urllib.parse import urlsplit
import django; django.setup()
from django.test import Client
url = urlsplit({url!r})
answers = [
    Client().get("/api/health/live/", headers={{"host": host}}).status_code
    for host in (url.netloc, "shop.example", "other.example")
]
print(answers)
"""
    environment = environment_of_the_containers(tmp_path) | {"ALLOWED_HOSTS": "shop.example"}
    done = run(program, environment)
    assert done.stdout == "[200, 200, 400]\n", done.stderr


def test_the_dockerfiles_base_has_a_version_and_its_stages_are_those_that_are_built():
    text = (ROOT / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+) AS (\S+)$", text, re.M)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", bases[0][0])
    assert {SERVICES[name]["build"]["target"] for name in OURS} == {stage for _, stage in bases}
    for sources in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.M):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert f"!{source}" in (ROOT / ".dockerignore").read_text().split()


def test_what_the_images_install_has_a_version_in_constraints():
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    pinned = {
        line.split("==")[0].lower().replace("-", "_")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    for line in re.findall(r"pip install -c constraints.txt ([^&\n]+)", text):
        for package in line.split():
            if package.startswith('".['):
                continue  # the project and its extras
            assert re.sub(r"\W.*", "", package.strip('"').replace("-", "_")).lower() in pinned, package


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_ours_is_one(name):
    command = " ".join(words(name))
    for program in re.findall(r"manage\.py (\w+)", command):
        assert program in {*get_commands(), "seed"}
    if command.startswith("celery"):
        from demo_project.celery import app

        assert words(name)[1:3] == ["-A", app.main]
        assert words(name)[3] in ("worker", "beat")
    elif command.startswith("uvicorn"):
        module, _, attribute = words(name)[1].partition(":")
        assert module == "demo_project.asgi"
        assert f"{attribute} = " in (ROOT / "demo_project/asgi.py").read_text()
    else:
        assert "manage.py" in command


def test_the_workers_are_started_by_the_documented_line_each_on_its_queue():
    queues = {}
    for name in OURS:
        if words(name)[3:4] == ["worker"]:
            options = dict(zip(words(name)[4::2], words(name)[5::2], strict=True))
            assert (options["-P"], options["-c"]) == ("solo", "1")
            queues[name] = options["-Q"]
    assert queues == {"index-worker": DEFAULTS["INDEX_QUEUE"], "rerank-worker": DEFAULTS["RERANK_QUEUE"]}


def test_health_is_asked_where_it_is_answered():
    assert (
        f"127.0.0.1:8000{reverse('shopsearch:api-health-ready')}"
        in SERVICES["web"]["healthcheck"]["test"][-1]
    )
    port = COMPOSE["x-environment"]["DEMO_METRICS_PORT"]
    for name in ("index-worker", "query-worker", "rerank-worker"):
        assert f"127.0.0.1:{port}/metrics" in SERVICES[name]["healthcheck"]["test"][-1]


def test_only_nginx_is_reached_from_outside_and_only_from_this_machine_unless_told():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    assert SERVICES["nginx"]["ports"] == ["${LISTEN:-127.0.0.1:8000}:8080"]
    assert "listen 8080;" in (ROOT / "deploy/nginx.conf").read_text()


def test_volumes_are_declared_and_files_are_there():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"]


def run(program, environment):
    """In a process that sees no settings but the environment's."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "demo_project.settings",
        }
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def environment_of_the_containers(tmp_path):
    given = {name: re.sub(r"\$\{\w+(?::\?[^}]*|:?-([^}]*))?\}", r"\1", str(value))
             for name, value in COMPOSE["x-environment"].items()}  # fmt: skip
    return {**given, "SECRET_KEY": "x" * 50, "DEBUG": "0", "SHOPSEARCH_DEMO_DIR": str(tmp_path)}


def test_the_environment_of_the_containers_reaches_the_settings(tmp_path):
    program = """
import django; django.setup()
from django.conf import settings as s
d = s.DATABASES["default"]
assert (d["ENGINE"], d["HOST"], d["PORT"], d["NAME"], d["USER"]) == (
    "django.db.backends.postgresql", "postgres", 5432, "shop", "shop"), d
assert s.CELERY_BROKER_URL.endswith("@redis:6379/0")
assert s.CACHES["default"]["LOCATION"].endswith("@redis:6379/1")
assert s.SHOPSEARCH["VECTOR_STORE"]["OPTIONS"]["uri"] == "http://milvus:19530"
assert s.SHOPSEARCH["QUERY_EMBEDDER"]["BACKEND"].endswith("WorkerEmbedder")
assert (s.SHOPSEARCH["METRICS_HOST"], s.SHOPSEARCH["METRICS_PORT"]) == ("0.0.0.0", 9464)
assert s.DEBUG is False
from django.core.checks import run_checks
assert not [m for m in run_checks(tags=["shopsearch"]) if m.level >= 40]
"""
    done = run(program, environment_of_the_containers(tmp_path))
    assert done.returncode == 0, done.stderr


def test_what_beat_asks_for_is_a_task_and_is_heard_by_a_worker(tmp_path):
    program = """
from demo_project.celery import app
app.loader.import_default_modules()
for each in app.conf.beat_schedule.values():
    print(each["task"] in app.tasks, each["options"]["queue"])
"""
    done = run(program, environment_of_the_containers(tmp_path))
    assert done.stdout.splitlines() == [f"True {DEFAULTS['INDEX_QUEUE']}"], done.stderr


def test_a_password_in_the_databases_address_may_have_any_letter():
    from demo_project.addresses import read_database

    read = read_database("postgresql://sh%40p:p%2Fw%3Ard@db.example.com/the%20shop")
    assert (read["USER"], read["PASSWORD"], read["HOST"], read["PORT"]) == (
        "sh@p",
        "p/w:rd",
        "db.example.com",
        "",
    )
    assert read["NAME"] == "the shop"
    assert read_database("") is None
    with pytest.raises(ValueError, match="postgresql://"):
        read_database("mysql://somewhere/shop")


def test_the_web_image_needs_no_model_framework(tmp_path):
    """It has none installed; here they are, so they are hidden."""
    program = """
import sys
for name in ("torch", "transformers", "FlagEmbedding", "sentence_transformers", "tokenizers", "milvus_lite"):
    sys.modules[name] = None
import django; django.setup()
from django.core.management import call_command
call_command("check")
call_command("migrate", verbosity=0)
call_command("seed", limit=2)
from shopsearch.backends import get_query_embedder
from django.test import Client
assert get_query_embedder().dimension
answer = Client().get("/api/health/ready/?exclude=broker&exclude=vector_store").json()
assert answer["parts"]["database"]["ready"], answer
assert "no query worker runs" in answer["parts"]["embedder"]["reason"]
"""
    environment = environment_of_the_containers(tmp_path) | {"DEMO_DATABASE_URL": "", "DEMO_CACHE_URL": ""}
    environment["REDIS_URL"] = "redis://127.0.0.1:1/0"
    environment["ALLOWED_HOSTS"] = "testserver"
    done = run(program, environment)
    assert done.returncode == 0, done.stderr
