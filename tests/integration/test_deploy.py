"""What stands in deploy/, held against the linters and schemas of its kind, and against its own config."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from stream.config import ServeConfig, parse_config
from stream.errors import ConfigError
from tests.integration.processes import ServeProcess

pytestmark = pytest.mark.integration

DEPLOY = Path(__file__).parents[2] / "deploy"
BIN = Path(sys.executable).parent
MANIFESTS = DEPLOY / "kubernetes/base/syncvis-online.yaml"
SECRET = DEPLOY / "kubernetes/secret.example.yaml"
DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")
SECRETS = {"SYNCVIS_TOKEN": "0123456789abcdef0123456789abcdef", "SYNCVIS_ADDRESS": "192.0.2.5"}
SECRETS |= {"ADMIN_TOKEN": "fedcba9876543210fedcba9876543210"}
SECRETS |= {"VIEW_TOKEN": SECRETS["SYNCVIS_TOKEN"], "NODE_ADDRESS": "192.0.2.6", "CAMERA_PASSWORD": "x"}


def run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [each for each in yaml.safe_load_all(MANIFESTS.read_text()) if each["kind"] == kind]
    return dict(found)


def config_of(text: str) -> ServeConfig:
    filled = re.sub(r"\$\{(\w+)\}", lambda name: SECRETS[name[1]], text)
    return parse_config(yaml.safe_load(filled), "deploy")


def compose_config() -> ServeConfig:
    return config_of((DEPLOY / "compose/config.yaml").read_text())


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_linter_has_nothing_to_say_about_the_images(name: str) -> None:
    run(BIN / "hadolint", DEPLOY / "docker" / name)


def test_compose_kubernetes_and_systemd_read_what_is_theirs(tmp_path: Path) -> None:
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yml")
    run(BIN / "kubernetes-validate", "--strict", MANIFESTS, SECRET)
    unit = (DEPLOY / "systemd/syncvis-online.service").read_text()
    program = "/opt/syncvis-online/bin/syncvis-online"
    assert unit.count(f"ExecStart={program} serve ") == 1
    # It looks whether the program is there.
    (tmp_path / "syncvis-online.service").write_text(unit.replace(program, str(BIN / "syncvis-online")))
    run("systemd-analyze", "verify", tmp_path / "syncvis-online.service")


def test_just_the_ports_are_open_that_the_config_uses() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yml").read_text())["services"]["syncvis-online"]
    config = compose_config().server
    first, last = config.webrtc.ports or (0, 0)
    assert compose["ports"] == [f"{config.port}:{config.port}", f"{first}-{last}:{first}-{last}/udp"]
    assert last - first + 1 >= config.webrtc.viewers

    config = config_of(manifest("ConfigMap")["data"]["config.yaml"]).server
    first, last = config.webrtc.ports or (0, 0)
    (container,) = manifest("StatefulSet")["spec"]["template"]["spec"]["containers"]
    udp = [port for port in container["ports"] if port["protocol"] == "UDP"]
    assert [(p["containerPort"], p["hostPort"]) for p in udp] == [(n, n) for n in range(first, last + 1)]
    assert last - first + 1 >= config.webrtc.viewers
    assert [p["containerPort"] for p in container["ports"] if p["protocol"] == "TCP"] == [config.port]
    (ingress,) = manifest("NetworkPolicy")["spec"]["ingress"]
    assert ingress["ports"][1] == {"protocol": "UDP", "port": first, "endPort": last}


def test_secrets_and_folders_are_those_that_the_pod_has() -> None:
    pod = manifest("StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = {each["name"]: each["valueFrom"] for each in container["env"]}
    text = manifest("ConfigMap")["data"]["config.yaml"]
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(given)
    assert config_of(text).state_dir in {each["mountPath"] for each in container["volumeMounts"]}
    keys = {value["secretKeyRef"]["key"] for value in given.values() if "secretKeyRef" in value}
    example = yaml.safe_load(SECRET.read_text())
    assert keys == set(example["stringData"])
    names = {value["secretKeyRef"]["name"] for value in given.values() if "secretKeyRef" in value}
    assert names == {example["metadata"]["name"]}
    compose = yaml.safe_load((DEPLOY / "compose.yml").read_text())["services"]["syncvis-online"]
    needed = set(re.findall(r"\$\{(\w+)\}", "".join(without_comments(DEPLOY / "compose/config.yaml"))))
    assert needed == set(compose["environment"])


def test_no_server_starts_with_the_token_of_the_example() -> None:
    token = yaml.safe_load(SECRET.read_text())["stringData"]["view-token"]
    text = manifest("ConfigMap")["data"]["config.yaml"]
    assert len(config_of(text).server.tokens) == 1
    with pytest.raises(ConfigError, match=r"server\.tokens"):
        config_of(text.replace("${VIEW_TOKEN}", token))


def test_the_gpu_is_added_to_a_pod_that_kubernetes_still_accepts(tmp_path: Path) -> None:
    (patch,) = yaml.safe_load((DEPLOY / "kubernetes/gpu/kustomization.yaml").read_text())["patches"]
    pod = manifest("StatefulSet")
    assert (patch["target"]["kind"], patch["target"]["name"]) == (pod["kind"], pod["metadata"]["name"])
    (change,) = yaml.safe_load(patch["patch"])
    assert change["op"] == "add"
    *parents, last = (key.replace("~1", "/") for key in change["path"].split("/")[1:])
    place: Any = pod
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    place[last] = change["value"]
    (tmp_path / "gpu.yaml").write_text(yaml.safe_dump(pod))
    run(BIN / "kubernetes-validate", "--strict", tmp_path / "gpu.yaml")
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"].keys() == {"memory", "nvidia.com/gpu"}


def test_the_pod_has_time_to_end() -> None:
    """What it drains for, and the 3 s after that."""
    pod = manifest("StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    drain_s = config_of(manifest("ConfigMap")["data"]["config.yaml"]).server.drain_s
    probe = container["readinessProbe"]
    assert drain_s > probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
    assert pod["terminationGracePeriodSeconds"] >= drain_s + 2 * 3


def without_comments(path: Path) -> list[str]:
    return [line.partition("#")[0] for line in path.read_text().splitlines(keepends=True)]


def test_prometheus_and_grafana_of_compose_find_what_they_are_told_of(tmp_path: Path) -> None:
    services = yaml.safe_load((DEPLOY / "compose.yml").read_text())["services"]

    def mounts(service: str) -> dict[str, Path]:
        pairs = [each.split(":") for each in services[service]["volumes"]]
        return {inside: DEPLOY / outside for outside, inside, *_ in pairs if outside.startswith("./")}

    given = mounts("prometheus")
    text = given["/etc/prometheus/prometheus.yml"].read_text()
    (rules,) = yaml.safe_load(text)["rule_files"]
    # As in the container, but for where its folders are.
    (tmp_path / "prometheus.yml").write_text(text.replace(rules, str(given[rules])))
    run("promtool", "check", "config", tmp_path / "prometheus.yml")
    (job,) = yaml.safe_load(text)["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"syncvis-online:{compose_config().server.port}"]}]
    assert f'up{{job="{job["job_name"]}"}}' in given[rules].read_text()

    given = mounts("grafana")
    (source,) = (given["/etc/grafana/provisioning"] / "datasources").glob("*.yml")
    assert yaml.safe_load(source.read_text())["datasources"][0]["url"] == "http://prometheus:9090"
    (provider,) = (given["/etc/grafana/provisioning"] / "dashboards").glob("*.yml")
    (folder,) = yaml.safe_load(provider.read_text())["providers"]
    assert list(given[folder["options"]["path"]].glob("*.json"))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_image_starts_what_there_is(name: str) -> None:
    text = (DEPLOY / "docker" / name).read_text()
    entry, command = (
        json.loads(re.findall(rf"^{word} (\[.*\])$", text, re.MULTILINE)[0]) for word in ("ENTRYPOINT", "CMD")
    )
    assert (entry, command[0]) == (["syncvis-online"], "serve")
    run(BIN / entry[0], command[0], "--help")
    (home,) = re.findall(r"--home-dir (\S+)", text)
    assert re.findall(r"^VOLUME (.*)$", text, re.MULTILINE) == [home]
    assert all(cache.startswith(f"{home}/") for cache in re.findall(r"XDG_CACHE_HOME=(\S+)", text))
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)
    assert '--constraint constraints.txt ".[${EXTRAS}]"' in text
    known = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert (
        set(extras.split(",")) == {"mqtt", *([] if name.endswith("cuda") else ["openvino"])} <= known.keys()
    )
    (probe,) = re.findall(r"CMD (\[\"python.*\])$", text, re.MULTILINE)
    assert f":{compose_config().server.port}/healthz" in json.loads(probe)[2]


def test_the_server_of_compose_starts_with_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    own = yaml.safe_load((DEPLOY / "compose/config.yaml").read_text())
    # All else as it stands; a test keeps to loopback, and to ports that are free.
    own["server"] |= {"host": "127.0.0.1", "port": 0}
    own["server"]["webrtc"].pop("ports")
    own["state_dir"] = str(tmp_path / "state")
    own["cameras"]["test"]["url"] = "rtsp://127.0.0.1:9/test"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(own, sort_keys=False))
    with ServeProcess(tmp_path / "config.yaml") as server:
        assert httpx.get(server.address + "/healthz").status_code == 200
        assert httpx.get(server.address + "/api/cameras").status_code == 401
        bearer = {"Authorization": f"Bearer {os.environ['SYNCVIS_TOKEN']}"}
        cameras = httpx.get(server.address + "/api/cameras", headers=bearer).json()
    assert [each["name"] for each in cameras] == ["test", "street"]
