"""deploy/compose.yaml: Docker Compose itself reads it, and each service whose program is here is started as the file says.

No engine runs here. A service is started by hand: its command and environment, its files where they lie in the repository, its
volumes as folders, and free ports in place of those of the containers. Grafana cannot be had here: its files are held to what the
others serve.
"""

import json
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import dockerfile
import pytest
import required
import yaml

from events import event, text
from gateway import ENVIRONMENT, ROOT, binary, wait_until
from lake_gateway import free_port

TOOLS = Path(sys.executable).parent
COMPOSE = ROOT / "deploy/compose.yaml"


def compose(*arguments, file: Path = COMPOSE, **options):
    """The real program, which needs an engine for other commands than `config`."""
    package = required.module("compose")
    command = [Path(package.__file__).with_name("docker-compose"), "-f", file, *arguments]
    return subprocess.run(list(map(str, command)), env=ENVIRONMENT, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def project() -> dict:
    """The file as Compose understands it: names resolved, paths absolute, short forms written out."""
    read = compose("config", "--format", "json")
    assert (read.returncode, read.stderr) == (0, ""), read.stderr
    return json.loads(read.stdout)


def test_compose_reads_the_file_and_finds_faults_in_it(project, tmp_path):
    assert project["services"].keys() == {"lakegate", "valkey", "prometheus", "grafana"}
    whole = yaml.safe_load(COMPOSE.read_text())
    for service, key, value in [
        ("lakegate", "environments", {}),
        ("lakegate", "ports", [{"target": "events"}]),
        ("valkey", "volumes", ["nowhere:/data"]),
        ("valkey", "healthcheck", {"interval": "often"}),
        ("grafana", "depends_on", ["promtheus"]),
        ("prometheus", "networks", ["wach"]),
        ("prometheus", "restart", 3),
    ]:
        wrong = whole | {"services": whole["services"] | {service: whole["services"][service] | {key: value}}}
        file = tmp_path / "compose.yaml"
        file.write_text(yaml.safe_dump(wrong))
        read = compose("config", "--quiet", file=file)
        assert read.returncode != 0 and read.stderr, f"{service}.{key} = {value} is taken"


def test_only_this_machine_reaches_the_services_and_they_may_do_little(project):
    for name, service in project["services"].items():
        assert {port["host_ip"] for port in service.get("ports", [])} <= {"127.0.0.1"}, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.keys() & {"privileged", "network_mode", "pid", "cap_add"}, name
        # A tag that moves with every release of the image's makers would be another program tomorrow.
        assert name == "lakegate" or service["image"].rsplit(":", 1)[1] not in ("latest", "main"), name
    assert project["networks"]["store"]["internal"] and project["services"]["valkey"]["networks"].keys() == {"store"}
    gateway = project["services"]["lakegate"]
    assert gateway["read_only"] and gateway["cap_drop"] == ["ALL"]
    assert Path(gateway["build"]["context"]) == ROOT and (ROOT / gateway["build"]["dockerfile"]).is_file()


def test_what_is_mounted_is_there_and_nothing_of_it_can_be_changed(project):
    for name, service in project["services"].items():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists() and volume["read_only"], f"{name}: {volume}"
            else:
                assert volume["source"] in project["volumes"]
    grafana = project["services"]["grafana"]
    files = {volume["target"]: Path(volume["source"]) for volume in grafana["volumes"]}
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert files[home] == ROOT / "ops/grafana/lakegate.json"
    (provider,) = yaml.safe_load((files["/etc/grafana/provisioning/dashboards"] / "lakegate.yaml").read_text())["providers"]
    assert provider["type"] == "file" and Path(provider["options"]["path"]) == Path(home).parent
    (source,) = yaml.safe_load((files["/etc/grafana/provisioning/datasources"] / "prometheus.yaml").read_text())["datasources"]
    # The dashboard takes the default source of this type.
    variables = {variable["name"]: variable for variable in json.loads(files[home].read_text())["templating"]["list"]}
    assert source["isDefault"] and variables["datasource"]["query"] == source["type"] == "prometheus"
    address = urllib.parse.urlsplit(source["url"])
    assert address.hostname in project["services"] and address.port == project["services"][address.hostname]["ports"][0]["target"]
    assert grafana["networks"].keys() & project["services"][address.hostname]["networks"].keys()


class ByHand:
    """Starts services of the project without an engine."""

    # Where a service listens, with the port of its container.
    PORTS = {"lakegate": (8443, 9090), "valkey": (6379,), "prometheus": (9090,)}

    def __init__(self, project: dict, folder: Path):
        self.services, self.folder = project["services"], folder
        self.ports = {(name, port): free_port() for name, ports in self.PORTS.items() for port in ports}
        self.processes: dict[str, subprocess.Popen] = {}

    def here(self, text: str, places: dict[str, Path]) -> str:
        """A text that names services, and paths of the container, with where they are here."""
        for (name, port), free in self.ports.items():
            text = text.replace(f"{name}:{port}", f"127.0.0.1:{free}")
        longest_first = sorted(map(re.escape, places), reverse=True)
        return re.sub(rf"(?<![\w/.])(?:{'|'.join(longest_first)})(?![\w-])", lambda found: str(places[found[0]]), text)

    def start(self, name: str, program: Path | str, words: list[str], environment: dict[str, str]):
        """What the container has where is a folder of this test, or a copy of the file."""
        volumes = self.services[name]["volumes"]
        places = {volume["target"]: self.folder / name / volume["target"].strip("/").replace("/", "_") for volume in volumes}
        for volume in volumes:
            place = places[volume["target"]]
            if volume["type"] == "volume":
                place.mkdir(parents=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(self.here(Path(volume["source"]).read_text(), places))
        command = [str(program), *(self.here(word, places) for word in words)]
        environment = ENVIRONMENT | {key: self.here(value, places) for key, value in environment.items()}
        log = (self.folder / f"{name}.log").open("w")
        self.processes[name] = subprocess.Popen(command, env=environment, cwd=self.folder, stdout=log, stderr=log)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def get(self, name: str, port: int, path: str):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name, port]}{path}", timeout=5) as answer:
            return answer.read()

    def answers(self, name: str, port: int, path: str):
        def asked():
            assert self.processes[name].poll() is None, self.log(name)
            try:
                return self.get(name, port, path)
            except OSError:
                return None

        return asked

    def stop(self, name: str) -> int:
        self.processes[name].terminate()
        return self.processes[name].wait(40)


@pytest.fixture
def by_hand(project, tmp_path):
    running = ByHand(project, tmp_path)
    yield running
    for process in running.processes.values():
        if process.poll() is None:
            process.kill()
            process.wait()


def test_gateway_valkey_and_prometheus_start_as_the_file_says_and_work_together(project, by_hand):
    valkey_server = required.program("valkey-server", "`make venv` brings it", f"{TOOLS}:{ENVIRONMENT['PATH']}")
    prometheus_server = required.program("prometheus", "Debian's package prometheus has it", f"{TOOLS}:{ENVIRONMENT['PATH']}")
    services = project["services"]

    # The store, with the health check that the gateway waits for.
    program, *words = services["valkey"]["command"]
    assert program == "valkey-server" and services["lakegate"]["depends_on"]["valkey"]["condition"] == "service_healthy"
    by_hand.start("valkey", valkey_server, [*words, "--port", str(by_hand.ports["valkey", 6379]), "--bind", "127.0.0.1"], {})
    valkey = required.module("valkey").Valkey(port=by_hand.ports["valkey", 6379])
    # The client's word for `valkey-cli ping`, which the health check runs.
    assert services["valkey"]["healthcheck"]["test"] == ["CMD", "valkey-cli", "ping"]

    def pings():
        assert by_hand.processes["valkey"].poll() is None, by_hand.log("valkey")
        try:
            return valkey.ping()
        except required.module("valkey").exceptions.ConnectionError:
            return False

    wait_until("the store answers", 30, pings)
    # It forgets nothing and outlives a restart.
    assert valkey.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert valkey.config_get("appendonly") == {"appendonly": "yes"}

    # The gateway, with the environment of its image below that of the service.
    environment = dockerfile.Image().environment() | services["lakegate"]["environment"]
    environment |= {"LAKEGATE__SCHEMAS__DIR": str(ROOT / "schemas")}
    environment |= {key: value.replace("0.0.0.0:", "lakegate:") for key, value in environment.items() if key.endswith("__LISTEN")}
    by_hand.start("lakegate", binary(), ["serve"], environment)
    wait_until("the gateway is ready", 30, by_hand.answers("lakegate", 9090, "/readyz"))
    sent = subprocess.run(
        ["curl", "-sS", "-H", "X-Api-Key: dev", "--json", text(event()), f"http://127.0.0.1:{by_hand.ports['lakegate', 8443]}/v1/events"],
        env=ENVIRONMENT, capture_output=True, text=True)
    assert json.loads(sent.stdout)["accepted"] == 1, sent.stdout + sent.stderr
    wait_until("the store knows the event", 30, lambda: any(b"scope-secret" not in key for key in valkey.keys("lakegate:*")))

    # Prometheus, which reads the alerts and scrapes the gateway.
    words = [*services["prometheus"]["command"], f"--web.listen-address=127.0.0.1:{by_hand.ports['prometheus', 9090]}"]
    by_hand.start("prometheus", prometheus_server, words, {})

    def asked(query: str):
        found = by_hand.answers("prometheus", 9090, f"/api/v1/query?query={urllib.parse.quote(query)}")()
        result = json.loads(found)["data"]["result"] if found else []
        return result and result[0]["value"][1]

    wait_until("the gateway is scraped", 30, lambda: asked('up{job="lakegate"}') == "1")
    wait_until("the event is counted", 30, lambda: asked("lakegate_events_received_total") == "1")
    groups = json.loads(by_hand.get("prometheus", 9090, "/api/v1/rules"))["data"]["groups"]
    rules = [rule["alert"] for group in yaml.safe_load((ROOT / "ops/prometheus/alerts.yml").read_text())["groups"] for rule in group["rules"]]
    assert [rule["name"] for group in groups for rule in group["rules"]] == rules

    assert by_hand.stop("lakegate") == 0, by_hand.log("lakegate")
    assert by_hand.stop("prometheus") == 0 and by_hand.stop("valkey") == 0
