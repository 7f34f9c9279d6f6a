"""`lakegate top` in a real terminal: it draws, obeys keys and signals, and leaves the terminal as it was."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from events import event, text
from gateway import ENVIRONMENT, binary

ALTERNATE, RESTORED = b"\x1b[?1049h", b"\x1b[?1049l"


class Terminal:
    """A pseudo terminal with a program in it."""

    def __init__(self, *arguments, rows=24, columns=80, environment=None):
        self.own, self.shell = pty.openpty()
        fcntl.ioctl(self.own, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = self.modes()
        self.written = b""
        environment = ENVIRONMENT | {"TERM": "xterm-256color"} | (environment or {})
        self.process = subprocess.Popen([binary(), "top", *arguments], stdin=self.shell, stdout=self.shell, stderr=self.shell, env=environment,
                                        start_new_session=True)

    def modes(self):
        """How the terminal treats keys and output. Its speed, of which a pseudo terminal has none, is not compared."""
        input_modes, output_modes, control_modes, local_modes, _, _, characters = termios.tcgetattr(self.shell)
        return input_modes, output_modes, control_modes & 0xFFF, local_modes, characters

    def until(self, what: bytes, seconds=20):
        deadline = time.monotonic() + seconds
        while what not in self.written:
            assert time.monotonic() < deadline, f"no {what} in {self.written[-4000:]}"
            if select.select([self.own], [], [], 0.1)[0]:
                self.written += os.read(self.own, 65536)

    def send(self, keys: bytes):
        os.write(self.own, keys)

    def ended(self) -> int:
        """Its exit code, once the terminal is as it was before."""
        self.until(RESTORED)
        code = self.process.wait(10)
        assert self.modes() == self.before
        return code

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.own)
        os.close(self.shell)


@pytest.fixture
def terminals():
    opened = []

    def opens(*arguments, **more):
        opened.append(Terminal(*arguments, **more))
        return opened[-1]

    yield opens
    for terminal in opened:
        terminal.close()


def test_it_shows_a_gateway_and_ends_with_a_key_that_leaves_the_terminal_as_it_was(gateways, terminals):
    gateway = gateways()
    assert gateway.post(text([event() for _ in range(5)])).counts == (5, 0, 0, 0)
    for key in (b"q", b"\x1b", b"\x03"):
        terminal = terminals("--data-dir", gateway.data)
        terminal.until(ALTERNATE)
        for word in (b"ready", b"events/s", b"latency", b"lake", b"dev", b"q quit"):
            terminal.until(word)
        terminal.send(b"p")
        terminal.until(b"PAUSED")
        terminal.send(key)
        assert terminal.ended() == 0


def test_a_signal_and_no_colour(gateways, terminals):
    gateway = gateways()
    for number in (signal.SIGTERM, signal.SIGHUP):
        terminal = terminals("--data-dir", gateway.data, environment={"NO_COLOR": "1"})
        terminal.until(b"events/s")
        terminal.process.send_signal(number)
        assert terminal.ended() == 0
        # Neither of the eight colours nor of the 256.
        assert b"\x1b[31m" not in terminal.written and b"\x1b[38;5;" not in terminal.written


def test_a_gateway_that_is_away_is_said_and_found_again_when_it_is_back(gateways, terminals):
    gateway = gateways()
    terminal = terminals("--data-dir", gateway.data, "--interval", "200ms")
    terminal.until(b"ready")
    gateway.stop()
    terminal.until(b"trying again")
    terminal.written = b""
    gateway.start()
    terminal.until(b"ready")
    terminal.send(b"q")
    assert terminal.ended() == 0


def test_a_poll_costs_a_gateway_less_than_a_fiftieth_of_a_second(gateways):
    gateway = gateways()
    assert gateway.post(text([event() for _ in range(5)])).counts == (5, 0, 0, 0)
    before = gateway.metrics()["process_cpu_seconds_total"]
    command = [binary(), "top", "--data-dir", gateway.data, "--interval", "100ms", "--json"]
    watching = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(50):
            assert json.loads(watching.stdout.readline())["ready"]
    finally:
        watching.kill()
        watching.wait()
    seconds = (gateway.metrics()["process_cpu_seconds_total"] - before) / 50
    # With one poll a second, the default, this is the part of a processor.
    print(f"a poll costs {1000 * seconds:.2f} ms of CPU time")
    assert seconds < 0.02
