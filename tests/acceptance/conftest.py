"""What the acceptance tests share."""

import sys
from pathlib import Path

import pytest

# The helpers of this folder, and the modules with which a release is packed.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "ops")]

from contract import Contract  # noqa: E402
from gateway import Gateway  # noqa: E402
from kinesis_servers import sink_environment  # noqa: E402


@pytest.fixture(scope="session")
def contract():
    """openapi.yaml; every answer of every gateway of the run is held against it."""
    return Contract()


@pytest.fixture(scope="module")
def gateways(contract, tmp_path_factory):
    """Starts gateways, and stops them when the module's tests are over."""
    started = []

    def start(**options) -> Gateway:
        gateway = Gateway(tmp_path_factory.mktemp("gateway"), check=contract.check, **options)
        started.append(gateway)
        return gateway.start()

    yield start
    for gateway in started:
        gateway.stop()


@pytest.fixture(scope="module")
def gateway(gateways):
    """A gateway as `make run` starts it, but quicker to write its files."""
    return gateways(environment={"LAKEGATE__LAKE__FLUSH_AGE_MS": "500"})


@pytest.fixture
def stream_gateway(contract, tmp_path):
    """Starts gateways whose sink is a stream, and stops them when the test is over."""
    started = []

    def start(*arguments, more=None, **keys) -> Gateway:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        settings = sink_environment(*arguments, **keys) | (more or {})
        started.append(Gateway(folder, environment=settings, check=contract.check))
        return started[-1].start()

    yield start
    for gateway in started:
        gateway.stop()
