"""What stands in deploy/kubernetes/cluster, held against Kubernetes' schemas, KubeRay's fields, and its own config."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.cli import PROGRAM, build_parser
from stream.commands import drain
from stream.errors import ConfigError
from tests.integration.test_deploy import BIN, DEPLOY, DOCKERFILES, config_of, run
from tests.support.ray_cluster import SETTINGS

pytestmark = pytest.mark.integration

CLUSTER = DEPLOY / "kubernetes/cluster"
NAMES = yaml.safe_load((CLUSTER / "kustomization.yaml").read_text())["resources"]
MANIFESTS: list[dict[str, Any]] = [
    each for name in NAMES for each in yaml.safe_load_all((CLUSTER / name).read_text())
]
SECRET: dict[str, Any] = yaml.safe_load((CLUSTER / "secret.example.yaml").read_text())
# Of ray.io/v1 as KubeRay 1.5 has it; its pods are Kubernetes' own.
FIELDS = {
    "spec": {"rayVersion", "gcsFaultToleranceOptions", "enableInTreeAutoscaling", "autoscalerOptions"}
    | {"headGroupSpec", "workerGroupSpecs", "headServiceAnnotations", "suspend", "managedBy"},
    "gcsFaultToleranceOptions": {"redisAddress", "redisUsername", "redisPassword"}
    | {"externalStorageNamespace"},
    "autoscalerOptions": {"version", "idleTimeoutSeconds", "upscalingMode", "image", "imagePullPolicy"}
    | {"resources", "securityContext", "env", "envFrom", "volumeMounts"},
    "headGroupSpec": {"rayStartParams", "template", "serviceType", "headService", "enableIngress"},
    "workerGroupSpecs": {"groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts"}
    | {"rayStartParams", "template", "scaleStrategy", "idleTimeoutSeconds", "suspend"},
}


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in MANIFESTS if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


RAY = one("RayCluster", "syncvis-online")["spec"]
HEAD, (NODES,) = RAY["headGroupSpec"], RAY["workerGroupSpecs"]
GATEWAY = one("Deployment", "syncvis-online-gateway")["spec"]["template"]
TEXT = one("ConfigMap", "syncvis-online-gateway")["data"]["config.yaml"]


def pods() -> list[dict[str, Any]]:
    """The templates of all pods."""
    redis = one("StatefulSet", "syncvis-online-redis")["spec"]["template"]
    return [HEAD["template"], NODES["template"], GATEWAY, redis]


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["spec"]["containers"]
    return dict(found)


def test_kubernetes_reads_all_that_is_its_own_and_rays_pods(tmp_path: Path) -> None:
    plain = [each for each in MANIFESTS if each["kind"] != "RayCluster"]
    for name, template in (("head", HEAD["template"]), ("node", NODES["template"])):
        template = {**template, "metadata": {**template["metadata"], "name": name}}
        plain.append({"apiVersion": "v1", "kind": "Pod", **template})
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([*plain, SECRET]))
    run(BIN / "kubernetes-validate", "--strict", tmp_path / "all.yaml")


def test_the_ray_cluster_has_no_field_that_kuberay_does_not_know() -> None:
    assert RAY.keys() <= FIELDS["spec"]
    for part in ("gcsFaultToleranceOptions", "autoscalerOptions", "headGroupSpec"):
        assert RAY[part].keys() <= FIELDS[part]
    assert NODES.keys() <= FIELDS["workerGroupSpecs"]
    assert NODES["minReplicas"] <= NODES["replicas"] <= NODES["maxReplicas"]
    for group in (HEAD, NODES):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    assert RAY["autoscalerOptions"]["version"] in ("v1", "v2")
    assert RAY["autoscalerOptions"]["upscalingMode"] in ("Default", "Aggressive", "Conservative")


def test_ray_is_of_the_version_that_is_pinned() -> None:
    (pinned,) = re.findall(r"^ray==(\S+)$", (DEPLOY.parent / "constraints.txt").read_text(), re.MULTILINE)
    assert RAY["rayVersion"] == pinned
    (python,) = re.findall(r"FROM python:(\d+)\.(\d+)\S* AS", (DEPLOY / "docker/Dockerfile").read_text())
    assert RAY["autoscalerOptions"]["image"] == f"rayproject/ray:{pinned}-py{''.join(python)}"


def test_ray_has_the_settings_that_failovers_were_tried_with() -> None:
    given = one("ConfigMap", "syncvis-online-ray")["data"]
    checks = {name: value for name, value in SETTINGS.items() if "health_check" in name}
    assert checks
    assert checks.items() <= given.items()
    assert given["RAY_USAGE_STATS_ENABLED"] == "0"
    for pod in (HEAD["template"], NODES["template"], GATEWAY):
        assert {"configMapRef": {"name": "syncvis-online-ray"}} in container(pod)["envFrom"]


def test_secrets_are_named_and_all_there_and_no_gateway_starts_with_the_examples() -> None:
    asked = re.findall(r"'secretKeyRef': ({[^}]*})", str(MANIFESTS))
    references = [yaml.safe_load(each) for each in asked]
    assert {each["name"] for each in references} == {SECRET["metadata"]["name"]}
    assert {each["key"] for each in references} == SECRET["stringData"].keys()
    given = {each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in container(GATEWAY)["env"]}
    assert set(re.findall(r"\$\{(\w+)\}", TEXT)) == given.keys()
    for name in ("VIEW_TOKEN", "ADMIN_TOKEN"):
        with pytest.raises(ConfigError, match="tokens"):
            config_of(TEXT.replace(f"${{{name}}}", SECRET["stringData"][given[name]]))


def test_the_config_and_the_pods_say_the_same() -> None:
    config = config_of(TEXT)
    assert config.state_dir is None  # the controller keeps what has to be kept
    cpus = float(NODES["rayStartParams"]["num-cpus"])
    assert (
        cpus
        == config.cluster.worker_cpus
        == float(container(NODES["template"])["resources"]["requests"]["cpu"])
    )
    assert config.cluster.most_workers == NODES["maxReplicas"]
    assert config.cluster.least_workers == NODES["minReplicas"]
    first, last = config.server.webrtc.ports or (0, 0)
    assert last - first + 1 >= config.server.webrtc.viewers
    said = (CLUSTER / "network.yaml").read_text()
    assert f"UDP {first}-{last}" in said
    assert "{}-{}".format(*(config.cluster.worker_ports or ())) in said
    start = NODES["rayStartParams"]
    assert f"{start['min-worker-port']}-{start['max-worker-port']}" in said
    (port,) = container(GATEWAY)["ports"]
    assert port["containerPort"] == config.server.port
    grace_s = GATEWAY["spec"]["terminationGracePeriodSeconds"]
    assert grace_s >= config.server.drain_s + 2 * 3


def test_probes_ask_at_ports_that_something_listens_on() -> None:
    kinds = ("startupProbe", "livenessProbe", "readinessProbe")
    for group in (HEAD, NODES):
        ports = {6379, int(group["rayStartParams"]["node-manager-port"])}
        asked = {container(group["template"])[kind]["tcpSocket"]["port"] for kind in kinds}
        assert asked <= ports
        assert group is HEAD or 6379 not in asked
    program = container(GATEWAY)["command"][2]
    live = container(GATEWAY)["livenessProbe"]["tcpSocket"]["port"]
    assert f"--node-manager-port {live}" in program
    assert container(GATEWAY)["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}


def test_a_node_is_drained_before_it_ends_and_has_the_time_for_it() -> None:
    name, *arguments = container(NODES["template"])["lifecycle"]["preStop"]["exec"]["command"]
    assert name == PROGRAM
    parsed = build_parser().parse_args(arguments)
    assert (parsed.run, parsed.worker) == (drain.run, []), "all workers of the node that it is run on"
    assert f"--cluster {parsed.cluster}" in container(GATEWAY)["command"][2]
    assert NODES["template"]["spec"]["terminationGracePeriodSeconds"] >= parsed.within + 2 * 15


def test_no_pod_has_more_rights_than_it_needs() -> None:
    for pod in pods():
        inside = container(pod)["securityContext"]
        assert inside["capabilities"] == {"drop": ["ALL"]}
        assert inside["readOnlyRootFilesystem"]
        assert not inside["allowPrivilegeEscalation"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        # The autoscaler asks Kubernetes for pods; KubeRay gives the head an account that may do that and no more.
        assert pod is HEAD["template"] or pod["spec"]["automountServiceAccountToken"] is False


def selected(policy: dict[str, Any], labels: dict[str, str]) -> bool:
    return bool(policy["podSelector"]["matchLabels"].items() <= labels.items())


def test_policies_meet_the_pods_that_they_are_for() -> None:
    ray = {"ray.io/cluster": "syncvis-online", "ray.io/node-type": "head"}
    labels = {
        "redis": {"app.kubernetes.io/name": "syncvis-online-redis"},
        "head": HEAD["template"]["metadata"]["labels"] | ray,
        "gateway": GATEWAY["metadata"]["labels"],
    }
    for name, own in labels.items():
        policy = one("NetworkPolicy", f"syncvis-online-{name}")["spec"]
        assert [other for other in labels if selected(policy, labels[other])] == [name], own
    redis = one("NetworkPolicy", "syncvis-online-redis")["spec"]["ingress"][0]["from"]
    assert {each["podSelector"]["matchLabels"]["ray.io/node-type"] for each in redis} == {
        "head",
        "redis-cleanup",
    }
    assert selected({"podSelector": redis[0]["podSelector"]}, labels["head"])


def test_redis_writes_down_what_it_answers_and_shows_nobody_its_password() -> None:
    program = container(one("StatefulSet", "syncvis-online-redis")["spec"]["template"])["command"][2]
    for option in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"):
        assert option in program
    assert "--requirepass" not in program
    service = one("Service", "syncvis-online-redis")
    assert RAY["gcsFaultToleranceOptions"]["redisAddress"] == (
        f"redis://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    )


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_image_can_be_built_for_a_cluster(name: str) -> None:
    text = (DEPLOY / "docker" / name).read_text()
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)
    assert '".[${EXTRAS}]"' in text
    extra = (DEPLOY.parent / "pyproject.toml").read_text()
    for each in (*extras.split(","), "cluster", "openvino"):
        assert f"\n{each} = [" in extra
