"""The Helm chart: what it renders, what Kubernetes takes of it, what its values may be, and that a pod of it runs the gateway.

Helm's own library lints and renders. No cluster runs here: the objects are held to the strict schemas of two versions of
Kubernetes, and the pod's command, environment, files and probes are tried with the program under test.
"""

import copy
import hashlib
import json
import subprocess
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import required
import yaml

from events import event, text
from gateway import ENVIRONMENT, ROOT, binary, wait_until
from lake_gateway import free_port

helm = required.module("helm_python")
kubernetes = required.module("kubernetes_validate")

CHART = ROOT / "deploy/helm/lakegate"
# The oldest that the chart installs on, and one of today.
VERSIONS = ("1.30", "1.34")
VALUES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CHART / "ci").glob("*.yaml"))}
LEAST, FULL = VALUES["plaintext-values"], VALUES["full-values"]


def rendered(values: dict) -> list[dict]:
    with helm.Chart.load(CHART) as chart:
        files = chart.render(values, name="gate", namespace="events")
    return [object for name, body in files.items() if name.endswith(".yaml") for object in yaml.safe_load_all(body) if object]


def one(objects: list[dict], kind: str) -> dict:
    (found,) = [object for object in objects if object["kind"] == kind]
    return found


def merged(values: dict, changes: dict) -> dict:
    """The values with changes, as `--set` makes them."""
    made = copy.deepcopy(values)
    for key, change in changes.items():
        made[key] = merged(made.get(key) or {}, change) if isinstance(change, dict) else change
    return made


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_chart_lints_and_two_versions_of_kubernetes_take_all_it_renders(name, version):
    report = helm.lint(CHART, VALUES[name], strict=True, kube_version=f"v{version}.0")
    assert not report["errors"] and report["total_charts_linted"] == 1
    # 1 is advice: the chart has no icon.
    assert all(message["severity"] <= 1 for message in report["messages"]), report["messages"]
    objects = rendered(VALUES[name])
    kinds = sorted(object["kind"] for object in objects)
    assert kinds == ["ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service", "Service", "ServiceAccount", "StatefulSet"]
    for object in objects:
        kubernetes.validate(object, version, strict=True)
        assert object["metadata"]["namespace"] == "events"
    # The check is strict: a field with a spelling mistake is found.
    wrong = copy.deepcopy(one(objects, "StatefulSet"))
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(wrong, version, strict=True)


def test_nothing_is_bundled_and_the_chart_says_which_kubernetes_it_needs():
    with helm.Chart.load(CHART) as chart:
        assert not chart.dependencies and not chart.crds and "dependencies" not in chart.metadata
        assert chart.metadata["kubeVersion"] == f">={VERSIONS[0]}.0-0"
    images = {container["image"] for container in one(rendered(LEAST), "StatefulSet")["spec"]["template"]["spec"]["containers"]}
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert images == {f"example/lakegate:{version}"}


@pytest.mark.parametrize(("changes", "named"), [
    ({"replica": 3}, "replica"),
    ({"replicas": 0}, "/replicas"),
    ({"image": {"repository": ""}}, "/image/repository"),
    ({"image": {"repository": "example/lakegate:0.1"}}, "/image/repository"),
    ({"image": {"digest": "sha256:12"}}, "/image/digest"),
    ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    ({"keysSecret": ""}, "/keysSecret"),
    ({"keysSecret": "Not_A_Name"}, "/keysSecret"),
    # Neither a certificate nor a word that none is wanted, and both.
    ({"tls": {"plaintext": False}}, "/tls"),
    ({"tls": {"secretName": "cert"}}, "/tls"),
    ({"config": {"sink": "lake"}}, "/config"),
    ({"volume": {"size": "20"}}, "/volume/size"),
    ({"volume": {"accessMode": "ReadWriteMany"}}, "/volume/accessMode"),
    ({"service": {"type": "ExternalName"}}, "/service/type"),
    ({"topologySpread": {"zone": "Never"}}, "/topologySpread/zone"),
    ({"podDisruptionBudget": {"minAvailable": 1}}, "minAvailable"),
    ({"preStopSeconds": 0}, "/preStopSeconds"),
    ({"terminationGracePeriodSeconds": 10}, "/terminationGracePeriodSeconds"),
    ({"image": {"tag": "0.1 0"}}, "/image/tag"),
    ({"service": {"loadBalancerSourceRanges": ["everybody"]}}, "/service/loadBalancerSourceRanges"),
    ({"resources": {"limit": {"memory": "1Gi"}}}, "/resources"),
    # What would hide the chart's own: the volume, and the labels by which the pods are found.
    ({"env": [{"name": "LAKEGATE__DATA_DIR", "value": "/tmp"}]}, "/env/0/name"),
    ({"env": [{"name": "LAKEGATE__LOG", "value": 1}]}, "/env/0/value"),
    ({"env": [{"value": "1"}]}, "/env/0"),
    ({"volumes": [{"name": "data", "emptyDir": {}}]}, "/volumes/0/name"),
    ({"podLabels": {"app.kubernetes.io/name": "other"}}, "/podLabels"),
])
def test_wrong_values_are_refused_with_their_name(changes, named):
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(LEAST)
        with pytest.raises(helm.HelmValuesError) as refused:
            chart.validate_schema(merged(LEAST, changes))
        assert named in str(refused.value)


def test_a_pod_that_would_be_killed_before_it_has_stopped_is_refused():
    with pytest.raises(helm.HelmError, match="47 at least"):
        rendered(merged(LEAST, {"preStopSeconds": 20, "terminationGracePeriodSeconds": 46}))
    assert rendered(merged(LEAST, {"preStopSeconds": 20, "terminationGracePeriodSeconds": 47}))


def test_every_value_of_the_chart_is_in_its_schema():
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(values, described, where):
        assert described.get("additionalProperties") is False, where
        missing = values.keys() - described["properties"].keys()
        assert not missing, f"{where}: {missing}"
        for name, value in values.items():
            if isinstance(value, dict) and "properties" in described["properties"][name]:
                compare(value, described["properties"][name], f"{where}.{name}")

    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    compare(defaults, schema, "values")
    assert schema["properties"].keys() - defaults.keys() == {"global", "nameOverride"}
    # And what there is to set is set in full-values.yaml, so that every branch of the templates is rendered here.
    assert FULL.keys() >= defaults.keys()


# ---- the pod ---------------------------------------------------------------------------------------------------------


def breaches_of_restricted(pod: dict) -> list[str]:
    """What a pod does that the Pod Security Standard `restricted` forbids; it includes `baseline`."""
    security = pod.get("securityContext", {})
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") if pod.get(name)]
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    found += [f"volume {volume['name']}" for volume in pod.get("volumes", []) if not (volume.keys() - {"name"}) <= allowed]
    found += ["sysctls"] if security.get("sysctls") else []
    for container in [*pod["containers"], *pod.get("initContainers", []), *pod.get("ephemeralContainers", [])]:
        own = container.get("securityContext", {})
        capabilities = own.get("capabilities", {})
        checks = {
            "privileged": own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
            "runAsNonRoot": own.get("runAsNonRoot", security.get("runAsNonRoot")) is not True,
            "runAsUser": own.get("runAsUser", security.get("runAsUser")) == 0,
            "seccompProfile": (own.get("seccompProfile") or security.get("seccompProfile") or {}).get("type")
            not in ("RuntimeDefault", "Localhost"),
            "capabilities.drop": "ALL" not in capabilities.get("drop", []),
            "capabilities.add": not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
            "hostPort": any(port.get("hostPort") for port in container.get("ports", [])),
            "procMount": own.get("procMount", "Default") != "Default",
        }
        found += [name for name, is_breach in checks.items() if is_breach]
    return found


@pytest.mark.parametrize("name", VALUES)
def test_the_pod_keeps_to_the_pod_security_standard_restricted(name):
    pod = one(rendered(VALUES[name]), "StatefulSet")["spec"]["template"]["spec"]
    assert breaches_of_restricted(pod) == []
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
    container = pod["containers"][0]["securityContext"]
    assert container["readOnlyRootFilesystem"] is True
    # The check sees each of these where it is taken away.
    for path in (("securityContext", "runAsNonRoot"), ("securityContext", "seccompProfile")):
        weaker = copy.deepcopy(pod)
        del weaker[path[0]][path[1]]
        assert breaches_of_restricted(weaker) == [path[1]]
    for key, breach in (("allowPrivilegeEscalation", "allowPrivilegeEscalation"), ("capabilities", "capabilities.drop")):
        weaker = copy.deepcopy(pod)
        del weaker["containers"][0]["securityContext"][key]
        assert breaches_of_restricted(weaker) == [breach]
    # The user is that of the image.
    assert "USER {runAsUser}:{runAsGroup}".format_map(pod["securityContext"]) in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", VALUES)
def test_names_ports_and_labels_fit_together_and_the_volumes_stay(name):
    objects = rendered(VALUES[name])
    stateful = one(objects, "StatefulSet")["spec"]
    pod, labels = stateful["template"]["spec"], stateful["template"]["metadata"]["labels"]
    container = pod["containers"][0]
    services = {object["metadata"]["name"]: object["spec"] for object in objects if object["kind"] == "Service"}
    budget, policy = one(objects, "PodDisruptionBudget")["spec"], one(objects, "NetworkPolicy")["spec"]
    selectors = [stateful["selector"]["matchLabels"], budget["selector"]["matchLabels"], policy["podSelector"]["matchLabels"]]
    selectors += [service["selector"] for service in services.values()]
    selectors += [spread["labelSelector"]["matchLabels"] for spread in pod["topologySpreadConstraints"]]
    assert len(selectors) == 7 and all(selector and selector.items() <= labels.items() for selector in selectors)
    ports = {port["name"] for port in container["ports"]}
    named = {port["targetPort"] for service in services.values() for port in service["ports"]}
    named |= {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    named |= {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert named <= ports
    assert services[stateful["serviceName"]]["clusterIP"] == "None"
    assert stateful["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    claims = {claim["metadata"]["name"] for claim in stateful["volumeClaimTemplates"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert claims == {"data"} and mounts.keys() == claims | {volume["name"] for volume in pod["volumes"]}
    assert all(mount.get("readOnly") for name, mount in mounts.items() if name != "data")
    assert {spread["topologyKey"] for spread in pod["topologySpreadConstraints"]} == {
        "topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert pod["serviceAccountName"] == one(objects, "ServiceAccount")["metadata"]["name"]


def test_what_is_set_reaches_the_objects():
    objects = rendered(FULL)
    stateful = one(objects, "StatefulSet")["spec"]
    container = stateful["template"]["spec"]["containers"][0]
    assert stateful["replicas"] == 3 and container["image"] == f"{FULL['image']['repository']}@{FULL['image']['digest']}"
    environment = {variable["name"]: variable for variable in container["env"]}
    assert environment["LAKEGATE__DEDUP__REDIS__URL"]["valueFrom"] == {"secretKeyRef": {"name": "valkey", "key": "url"}}
    policy = one(objects, "NetworkPolicy")["spec"]
    assert [rule.get("from") for rule in policy["ingress"]] == [
        FULL["networkPolicy"]["eventsFrom"], FULL["networkPolicy"]["operatorsFrom"]]
    assert policy["egress"][2:] == FULL["networkPolicy"]["egress"]
    # Without a word about it the operators' port is reachable for nobody.
    assert [rule["ports"][0]["port"] for rule in one(rendered(LEAST), "NetworkPolicy")["spec"]["ingress"]] == ["events"]
    # A change of the configuration makes new pods.
    def digest(values):
        return one(rendered(values), "StatefulSet")["spec"]["template"]["metadata"]["annotations"]["lakegate/config-sha256"]
    assert digest(LEAST) != digest(LEAST | {"config": "[lake]\nflush_age_ms = 1\n"})


def test_a_gateway_has_time_to_stop_before_kubernetes_kills_it():
    stop = tomllib.loads((ROOT / "lakegate.example.toml").read_text())["stop"]
    pod = one(rendered(LEAST), "StatefulSet")["spec"]["template"]["spec"]
    before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    # Every wait that [stop] names, and the last traces.
    assert pod["terminationGracePeriodSeconds"] > before + sum(stop.values()) + 2


@pytest.mark.parametrize("name", VALUES)
def test_a_pod_of_the_chart_starts_answers_its_probes_takes_an_event_and_stops(name, tmp_path, contract):
    """What the kubelet does with the pod, as far as it goes without one: files of the config map and of the secrets, the
    environment, the probes, SIGTERM. The folders of the container are folders here, and its ports are free ones."""
    values = merged(VALUES[name], {"requireExistingData": False, "dedup": {"secretName": ""}})
    objects = rendered(values)
    container = one(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    secret = hashlib.sha256(b"secret").hexdigest()
    environment = {"LAKEGATE__KEYS": f'[{{ name = "orders", secret_sha256 = "{secret}" }}]'}
    environment |= {variable["name"]: variable["value"] for variable in container["env"]}
    places = {mount["mountPath"]: tmp_path / mount["name"] for mount in container["volumeMounts"]}
    ports = {port["name"]: (port["containerPort"], free_port()) for port in container["ports"]}
    for variable, value in environment.items():
        for place, folder in places.items():
            value = str(folder) + value.removeprefix(place) if value.startswith(f"{place}/") or value == place else value
        for inside, free in ports.values():
            value = value.replace(f"0.0.0.0:{inside}", f"127.0.0.1:{free}")
        environment[variable] = value
    # The schemas are the image's.
    environment["LAKEGATE__SCHEMAS__DIR"] = str(ROOT / "schemas")
    (tmp_path / "config").mkdir()
    for file, body in one(objects, "ConfigMap")["data"].items():
        (tmp_path / "config" / file).write_text(body)
    scheme, trust = "http", []
    if "tls" in tmp_path.joinpath(environment.get("LAKEGATE__TLS__CERTIFICATE", "")).parts:
        folder = tmp_path / "tls"
        folder.mkdir()
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "tls.key", "-out", folder / "tls.crt"]
        subprocess.run(made, check=True, capture_output=True)
        scheme, trust = "https", ["--cacert", folder / "tls.crt"]
    assert (scheme == "https") == bool(values["tls"].get("secretName"))

    def probe(which: str) -> int:
        asked = container[which]["httpGet"]
        assert asked["scheme"] == "HTTP"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports[asked['port']][1]}{asked['path']}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as answered:
            return answered.code
        except OSError:
            return 0

    log = (tmp_path / "log").open("w+")
    # The image's command.
    process = subprocess.Popen([binary(), "serve"], env=ENVIRONMENT | environment, cwd=tmp_path, stderr=log, stdout=log)
    try:
        def started():
            assert process.poll() is None, Path(log.name).read_text()
            return probe("startupProbe") == 200

        wait_until("the startup probe passes", 30, started)
        wait_until("the readiness probe passes", 30, lambda: probe("readinessProbe") == 200)
        assert probe("livenessProbe") == 200
        # What the notes tell to run in the pod.
        asked = subprocess.run([binary(), "health"], env=ENVIRONMENT | environment, cwd=tmp_path, capture_output=True, text=True)
        assert (asked.returncode, asked.stdout) == (0, "ready\n"), asked.stderr
        sent = subprocess.run(
            ["curl", "-sS", *map(str, trust), "-H", "X-Api-Key: secret", "--json", text(event()),
             f"{scheme}://localhost:{ports['events'][1]}/v1/events"], env=ENVIRONMENT, capture_output=True, text=True)
        assert json.loads(sent.stdout)["accepted"] == 1, sent.stdout + sent.stderr
    finally:
        process.terminate()
        assert process.wait(40) == 0
    assert (tmp_path / "data/lakegate.id").exists(), "its data are on the volume"
