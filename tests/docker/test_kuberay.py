"""The KubeRay manifest, against a strict schema of what it uses.

The fields are those of the Kubernetes API reference and of KubeRay's RayCluster (ray.io/v1); whatever
is not among them is refused, so a misspelt one is found.
"""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
FLAG: dict[str, Any] = {"type": "boolean"}
LABEL = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
QUANTITY = {"anyOf": [COUNT, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?$"}]}


def table(required: str = "", **properties: Any) -> dict[str, Any]:
    """An object with these keys and no others."""
    return {
        "type": "object", "properties": properties, "additionalProperties": False,
        "required": required.split(),
    }  # fmt: skip


def each(items: Any, least: int = 1) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least}


def words(values: Any = TEXT) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


METADATA = table("name labels", name=LABEL, labels=words())
SELECTOR = table("", matchLabels=words())
RESOURCES = table("", requests=words(QUANTITY), limits=words(QUANTITY))
PROBE = table(
    "exec", exec=table("command", command=each(TEXT)), initialDelaySeconds=COUNT,
    periodSeconds=COUNT, timeoutSeconds=COUNT, failureThreshold=COUNT,
)  # fmt: skip
ENV = table(
    "name", name=TEXT, value={"type": "string"},
    valueFrom=table("secretKeyRef", secretKeyRef=table("name key", name=LABEL, key=TEXT)),
)  # fmt: skip
CONTAINER = table(
    "name image env resources securityContext volumeMounts readinessProbe livenessProbe",
    name=LABEL, image=TEXT, env=each(ENV), resources=RESOURCES,
    ports=each(table("containerPort name", containerPort=COUNT, name=LABEL)),
    securityContext=table(
        "allowPrivilegeEscalation readOnlyRootFilesystem capabilities",
        allowPrivilegeEscalation=FLAG, readOnlyRootFilesystem=FLAG,
        capabilities=table("drop", drop=each(TEXT)),
    ),
    readinessProbe=PROBE, livenessProbe=PROBE,
    volumeMounts=each(table("name mountPath", name=LABEL, mountPath=TEXT)),
)  # fmt: skip
VOLUME = table(
    "name", name=LABEL, persistentVolumeClaim=table("claimName", claimName=LABEL),
    emptyDir=table("", medium={"const": "Memory"}, sizeLimit=QUANTITY),
)  # fmt: skip
POD = table(
    "containers volumes securityContext",
    automountServiceAccountToken=FLAG, terminationGracePeriodSeconds=COUNT,
    securityContext=table(
        "runAsNonRoot runAsUser", runAsNonRoot=FLAG, runAsUser=COUNT, runAsGroup=COUNT,
        fsGroup=COUNT, seccompProfile=table("type", type={"const": "RuntimeDefault"}),
    ),
    containers=each(CONTAINER), volumes=each(VOLUME),
)  # fmt: skip
TEMPLATE = table("spec", spec=POD)
PORTS = each(table("protocol port", protocol={"enum": ["TCP", "UDP"]}, port=COUNT))
PEERS = each(table("podSelector", podSelector=SELECTOR, namespaceSelector=SELECTOR))
SCHEMAS = {
    ("v1", "PersistentVolumeClaim"): table(
        "accessModes resources", accessModes=each({"const": "ReadWriteMany"}), resources=RESOURCES
    ),
    ("networking.k8s.io/v1", "NetworkPolicy"): table(
        "podSelector policyTypes", podSelector=SELECTOR,
        policyTypes=each({"enum": ["Ingress", "Egress"]}),
        ingress=each(table("from", **{"from": PEERS, "ports": PORTS})),
        egress=each(table("to", to=PEERS, ports=PORTS)),
    ),
    ("ray.io/v1", "RayCluster"): table(
        "headGroupSpec workerGroupSpecs",
        headGroupSpec=table(
            "rayStartParams template", serviceType={"enum": ["ClusterIP"]},
            rayStartParams=words(), template=TEMPLATE,
        ),
        workerGroupSpecs=each(
            table(
                "groupName minReplicas maxReplicas template", groupName=LABEL, replicas=COUNT,
                minReplicas=COUNT, maxReplicas=COUNT, rayStartParams=words(), template=TEMPLATE,
            )
        ),
    ),
}  # fmt: skip


def objects() -> list[dict[str, Any]]:
    text = (DOCKER / "kuberay.yaml").read_text("utf-8")
    return [copy.deepcopy(found) for found in yaml.safe_load_all(text)]


def wrong(found: dict[str, Any]) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema")
    spec = SCHEMAS[found["apiVersion"], found["kind"]]
    whole = table(
        "apiVersion kind metadata spec", apiVersion=TEXT, kind=TEXT, metadata=METADATA, spec=spec
    )
    return [error.message for error in jsonschema.Draft202012Validator(whole).iter_errors(found)]


def cluster() -> dict[str, Any]:
    (found,) = [one for one in objects() if one["kind"] == "RayCluster"]
    return found


def pods() -> dict[str, dict[str, Any]]:
    spec = cluster()["spec"]
    workers = {one["groupName"]: one["template"]["spec"] for one in spec["workerGroupSpecs"]}
    return {"head": spec["headGroupSpec"]["template"]["spec"], **workers}


def test_every_object_is_of_known_fields() -> None:
    assert [wrong(found) for found in objects()] == [[], [], [], []]
    misspelt = cluster()
    misspelt["spec"]["workerGroupSpecs"][0]["template"]["spec"]["container"] = []
    assert "'container' was unexpected" in wrong(misspelt)[0]


@pytest.mark.parametrize("name", ["head", "gpu"])
def test_pods_are_confined_and_share_the_token_from_a_secret(name: str) -> None:
    pod = pods()[name]
    assert pod["automountServiceAccountToken"] is False
    identity = pod["securityContext"]
    assert identity["runAsNonRoot"] is True
    assert identity["runAsUser"] == identity["fsGroup"] == 10001, "the user of the image"
    (container,) = pod["containers"]
    confined = container["securityContext"]
    assert confined["allowPrivilegeEscalation"] is False
    assert confined["readOnlyRootFilesystem"] is True
    assert confined["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["requests"] == container["resources"]["limits"]
    env = {one["name"]: one for one in container["env"]}
    assert env["RAY_AUTH_MODE"]["value"] == "token"
    assert env["RAY_AUTH_TOKEN"].keys() == {"name", "valueFrom"}, "no value stands in the file"
    mounted = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert set(mounted) == {one["name"] for one in pod["volumes"]}
    assert {"/results", "/data", "/tmp", "/dev/shm"} <= set(mounted.values())
    claims = {one["metadata"]["name"] for one in objects() if "Claim" in one["kind"]}
    used = {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if len(v) == 2 and "persistentVolumeClaim" in v}  # fmt: skip
    assert used == claims
    for probe in ("readinessProbe", "livenessProbe"):
        command = container[probe]["exec"]["command"]
        assert command == ["sweep-node", "health", "head"][: 3 if name == "head" else 2]


def test_trials_are_for_workers_which_have_a_gpu_each() -> None:
    spec = cluster()["spec"]
    params = spec["headGroupSpec"]["rayStartParams"]
    assert (params["num-cpus"], params["include-dashboard"]) == ("0", "true")
    (group,) = spec["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_only_the_cluster_and_its_operator_get_in() -> None:
    (policy,) = [one for one in objects() if one["kind"] == "NetworkPolicy"]
    own = {"matchLabels": {"ray.io/cluster": cluster()["metadata"]["name"]}}
    spec = policy["spec"]
    assert spec["podSelector"] == own
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    inside, operator = spec["ingress"]
    assert inside == {"from": [{"podSelector": own}]}
    assert operator["ports"] == [{"protocol": "TCP", "port": 8265}]
    assert spec["egress"][0] == {"to": [{"podSelector": own}]}
    assert {port["port"] for port in spec["egress"][1]["ports"]} == {53}
    services = {cluster()["spec"]["headGroupSpec"]["serviceType"]}
    assert services == {"ClusterIP"}, "nothing is published"


def test_no_manifest_holds_a_token() -> None:
    for path in DOCKER.rglob("*.y*ml"):
        text = path.read_text("utf-8")
        assert not re.search(r"auth_token:\s*\S|RAY_AUTH_TOKEN\s*[:=]\s*['\"\w]", text), path
