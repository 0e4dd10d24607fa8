"""The compose file: valid by the specification's schema, and confined."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from sweep.cli import app, register

DOCKER = Path(__file__).parents[2] / "docker"
FILES = ("compose.yaml", "compose.gpu.yaml", "compose.page.yaml")
DAEMONS = ("head", "worker")


def load(name: str) -> dict[str, Any]:
    text = (DOCKER / name).read_text("utf-8")
    # What compose puts in place of ${NAME:-default}.
    found: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    return found


@pytest.mark.parametrize("name", FILES)
def test_it_is_valid_by_the_specification(name: str) -> None:
    schemas = pytest.importorskip("check_jsonschema.builtin_schemas", reason="has the schema")
    jsonschema = pytest.importorskip("jsonschema")
    schema = schemas.get_builtin_schema("vendor.compose-spec")
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(load(name))] == []
    wrong = load(name)
    next(iter(wrong["services"].values()))["replica"] = 2
    assert list(validator.iter_errors(wrong)), "the schema knows the keys of a service"


def test_services_are_confined() -> None:
    services = load("compose.yaml")["services"] | load("compose.page.yaml")["services"]
    assert set(services) == {"head", "worker", "fetch", "page"}
    for name, service in services.items():
        uid, gid = map(int, service["user"].split(":"))
        assert uid, name
        assert gid, name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "network_mode", "pid", "ipc", "devices"} & set(service), name
        limits = service["deploy"]["resources"]["limits"]
        assert set(limits) == {"cpus", "memory"}
        for volume in service["volumes"]:
            assert volume["type"] == "volume", "no folder of the host is in it"


def test_nothing_is_published_and_ray_stays_in_a_network_that_ends_here() -> None:
    whole = load("compose.yaml")
    assert whole["networks"]["cluster"] == {"internal": True}
    for name in DAEMONS:
        service = whole["services"][name]
        assert service["networks"] == ["cluster"]
        assert not {"ports", "expose"} & set(service)
    assert whole["services"]["fetch"]["networks"] == ["outside"]
    assert "secrets" not in whole["services"]["fetch"], "what goes out knows no token"
    assert whole["services"]["fetch"]["entrypoint"] == ["sweep", "data", "fetch"]


def test_the_page_is_for_this_machine_and_asks_for_a_token_that_it_reads() -> None:
    whole = load("compose.page.yaml")
    (page,) = whole["services"].values()
    assert re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", page["ports"][0]) == "127.0.0.1:8501:8501"
    assert len(page["ports"]) == 1
    assert set(page["networks"]) == {"cluster", "page"}
    assert set(page["secrets"]) == {"ray_token", "page_token"}
    assert set(page["environment"]) == {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "SWEEP_DATA_DIR"}
    register()
    words = [*page["entrypoint"][1:], *page["command"]]
    group = typer.main.get_command(app)
    context = group.make_context("sweep", list(words))
    name, serve, words = group.resolve_command(context, words)  # type: ignore[attr-defined]
    given = serve.make_context(name, words, parent=context).params
    assert given["token_file"] == Path("/run/secrets/page_token")
    assert (given["host"], given["port"]) == ("0.0.0.0", 8501)
    assert given["address"] == "http://head:8265"
    ignored = (DOCKER.parent / ".gitignore").read_text("utf-8").split()
    assert "/docker/page_token" in ignored


def test_the_token_is_a_secret_and_in_no_variable() -> None:
    whole = load("compose.yaml")
    assert whole["secrets"] == {"ray_token": {"file": "./ray_token"}}
    for name in DAEMONS:
        service = whole["services"][name]
        assert service["secrets"] == ["ray_token"]
        environment = service["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/ray_token"
        assert "RAY_AUTH_TOKEN" not in environment
    ignored = (DOCKER.parent / ".gitignore").read_text("utf-8").split()
    assert "/docker/ray_token" in ignored


def test_nodes_say_how_they_are_share_results_and_wait_for_the_head() -> None:
    services = load("compose.yaml")["services"]
    for name, said in (("head", ["health", "head"]), ("worker", ["health"])):
        service = services[name]
        assert service["entrypoint"] == ["sweep-node"]
        assert service["command"][0] == name
        assert service["healthcheck"]["test"] == ["CMD", "sweep-node", *said]
        targets = {v["target"]: v.get("source") for v in service["volumes"]}
        assert targets == {"/results": "results", "/data": "data", "/tmp": None}
        assert service["shm_size"] == "4gb"
    assert services["worker"]["depends_on"] == {"head": {"condition": "service_healthy"}}
    assert services["worker"]["command"][1].split(":")[0] == services["head"]["hostname"] == "head"
    assert services["worker"]["deploy"]["replicas"] == 2


def test_gpus_are_counted_once() -> None:
    base, gpu = load("compose.yaml")["services"], load("compose.gpu.yaml")["services"]
    assert set(gpu) == set(base)
    assert {service["image"] for service in gpu.values()} == {"distillation-sweep:cuda"}
    assert gpu["worker"]["deploy"]["replicas"] == 1
    (device,) = gpu["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
