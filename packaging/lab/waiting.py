# waiting: for servers to be ready, and what is said when they are not. Knows no server of the lab.
# SPDX-License-Identifier: Apache-2.0
import socket
import time

LOOPBACK = "127.0.0.1"


class LabError(Exception):
    pass


def wait_until(condition, what, seconds=60.0):
    """Polls `condition` until it gives something true and returns that; LabError after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.02)


def accepts(port, host=LOOPBACK):
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False


def greets(port, first, host=LOOPBACK):
    """Whether what is said there at once begins with `first`."""
    try:
        with socket.create_connection((host, port), timeout=3) as connection:
            return connection.recv(len(first)) == first
    except OSError:
        return False


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as text:
            return text.read()
    except OSError:
        return ""
