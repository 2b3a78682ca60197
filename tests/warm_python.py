"""A `python` that starts at once: every script begins in a copy of a process that has TensorFlow loaded.

  python tests/warm_python.py serve               # standard input is a listening socket; from the folder of a checkout
  python tests/warm_python.py run SOCKET SCRIPT …  # what a shell calls in the place of python

Loading TensorFlow takes longer than most scripts of a test. The serving process splits for every script, so that none
of them sees what another one did; it is given arguments, folder, variables and streams, and answers with the status.
"""

from __future__ import annotations

import json
import os
import socket
import sys


def run(address: str, words: list[str]) -> int:
    """Let the serving process run a script with its arguments; return the exit status."""
    job = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [job], [0, 1, 2])
        return int(server.recv(8))


def serve() -> None:
    """Load what takes long; then run scripts, each in a process of its own, until this one is killed."""
    import runpy

    sys.path[0] = os.getcwd()
    import nsp_bert.cli  # noqa: F401  # and with it most packages that a script imports
    from nsp_bert.environment import import_tensorflow

    import_tensorflow()
    sys.argv = next_script(socket.socket(fileno=0))
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")


def next_script(server: socket.socket) -> list[str]:
    """Return a script and its arguments, each time in a new process; the old one goes on listening."""
    while True:
        client, _ = server.accept()
        job, streams, _, _ = socket.recv_fds(client, 1 << 20, 3)
        child = os.fork()
        if child == 0:
            break
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        client.sendall(str(status).encode())
        for number in (*streams, client.detach()):
            os.close(number)
    server.detach()  # its number becomes that of the script's standard input
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    words, folder, variables = json.loads(job)
    os.chdir(folder)
    os.environ.update(variables)
    return words


if __name__ == "__main__":
    role, *rest = sys.argv[1:]
    sys.exit(serve() if role == "serve" else run(rest[0], rest[1:]))
