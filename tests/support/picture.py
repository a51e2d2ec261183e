"""Draws a real session as an SVG of three terminals: python3 picture.py PROGRAM FILE.

Starts a server and two clients, types the lines of `SESSION`, and draws the lines that the programs print. Ports and
times differ between runs, so the picture shows the ports of `PORTS`, and `…` for the time at which a message was saved.
"""

import os
import queue
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from xml.sax.saxutils import escape

# Time limit for one line of output. Only a failing run waits this long.
TIMEOUT_S = 30

# The pause of a person between two steps. A server delays table updates that follow each other faster.
PAUSE_S = 0.2

# The port in the picture for each program.
PORTS = {"server": 8888, "x": 9001, "y": 9002}

COMMANDS = {
    "server": "chat -s {server}",
    "x": "chat -c x 127.0.0.1 {server} {x}",
    "y": "chat -c y 127.0.0.1 {server} {y}",
}

# Each step lists the typed lines in order, each with the number of lines that each program then prints. `None` starts
# the program. In each step, the lines of both clients start at the same height of the picture.
SESSION = [
    [
        ("server", None, {"server": 1}),
        ("x", None, {"x": 2, "server": 1}),
        ("y", None, {"y": 2, "x": 1, "server": 1}),
    ],
    [("x", "send y hello, it's 5 o'clock", {"x": 1, "y": 1})],
    [("y", "dereg y", {"y": 1, "x": 1, "server": 1})],
    [("x", "send y are you there?", {"x": 2})],
    [("y", "reg y", {"y": 4, "x": 2, "server": 1})],
]

FONT_SIZE, ROW, PADDING, BAR, GAP = 13, 19, 14, 28, 16
PANE_WIDTH = 400
STYLE = """
    text { font-family: ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", "Liberation Mono", monospace;
           font-size: %dpx; fill: #c9d1d9; }
    .pane { fill: #161b22; stroke: #6e7681; }
    .bar { fill: #30363d; }
    .title { fill: #f0f6fc; }
    .prompt { fill: #8b949e; }
    .typed { fill: #f0f6fc; font-weight: bold; }
    .in { fill: #7ee787; }
""" % FONT_SIZE


def free_port(taken):
    """A free UDP port below the ephemeral ports. A listener on the TCP port of the same number reserves it."""
    for port in range(10_000 + os.getpid() % 10_000, 30_000):
        try:
            reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            reserved.bind(("127.0.0.1", port))
            reserved.listen()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("0.0.0.0", port))
        except OSError:
            reserved.close()
            continue
        taken.append(reserved)
        return port
    sys.exit("No UDP port is free.")


class Program:
    """A running program and the queue of the lines that it prints."""

    def __init__(self, words, home):
        environment = {"HOME": home, "PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=home, text=True
        )
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def type(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


def run(chat):
    """Runs the session. Returns for each step and program the lines to draw: prompt, CSS class and text."""
    taken, programs, steps = [], {}, []
    ports = {name: free_port(taken) for name in PORTS}

    def hide(line):
        for name, port in ports.items():
            line = line.replace(str(port), str(PORTS[name]))
        return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "…", line)

    with tempfile.TemporaryDirectory() as home:
        try:
            for actions in SESSION:
                time.sleep(PAUSE_S)
                step = {name: [] for name in PORTS}
                for name, typed, prints in actions:
                    if typed is None:
                        words = COMMANDS[name].format(**ports).split(" ")
                        programs[name] = Program([chat] + words[1:], home)
                        step[name].append(("$ ", "typed", COMMANDS[name].format(**PORTS)))
                    else:
                        programs[name].type(typed)
                        step[name].append((">>> ", "typed", typed))
                    for other, count in prints.items():
                        for _ in range(count):
                            try:
                                line = hide(programs[other].lines.get(timeout=TIMEOUT_S))
                            except queue.Empty:
                                sys.exit(f"After {typed or 'the start'!r} of {name}, {other} printed no line.")
                            text = line.removeprefix(">>> ")
                            step[other].append((">>> ", "out" if text.startswith("[") else "in", text))
                steps.append(step)
        finally:
            for program in programs.values():
                program.process.kill()
                program.process.wait()
    return steps


def pane(title, x, y, width, rows, lines):
    """Draws a terminal with a title. `lines` has pairs of a row number and a line."""
    height = BAR + 2 * PADDING + rows * ROW - ROW // 3
    yield f'  <rect class="pane" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
    yield f'  <path class="bar" d="M{x} {y + BAR}v-{BAR - 6}a6 6 0 0 1 6-6h{width - 12}a6 6 0 0 1 6 6v{BAR - 6}z"/>'
    yield f'  <text class="title" x="{x + PADDING}" y="{y + 19}">{title}</text>'
    for row, (prompt, kind, text) in lines:
        baseline = y + BAR + PADDING + FONT_SIZE + row * ROW - 3
        prompt = f'<tspan class="prompt">{escape(prompt)}</tspan>'
        text = f'{prompt}<tspan class="{kind}">{escape(text)}</tspan>'
        yield f'  <text x="{x + PADDING}" y="{baseline}" xml:space="preserve">{text}</text>'


def draw(steps):
    """Draws both clients beside each other and the server below them."""
    clients, rows = {"x": [], "y": []}, 0
    for step in steps:
        for name, lines in clients.items():
            lines.extend((rows + at, line) for at, line in enumerate(step[name]))
        rows += max(len(step[name]) for name in clients)
    server = list(enumerate(line for step in steps for line in step["server"]))
    width, client_height = 2 * PANE_WIDTH + GAP + 2, BAR + 2 * PADDING + rows * ROW - ROW // 3
    height = client_height + GAP + BAR + 2 * PADDING + len(server) * ROW - ROW // 3 + 2
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    yield '     role="img" aria-labelledby="title">'
    yield '  <title id="title">A server and two clients, x and y: a message is delivered, y leaves, the next'
    yield "    message is saved, and y receives it when it comes back.</title>"
    yield f"  <style>{STYLE}  </style>"
    yield from pane("client x", 1, 1, PANE_WIDTH, rows, clients["x"])
    yield from pane("client y", 1 + PANE_WIDTH + GAP, 1, PANE_WIDTH, rows, clients["y"])
    yield from pane("server", 1, 1 + client_height + GAP, width - 2, len(server), server)
    yield "</svg>"


def main():
    if len(sys.argv) != 3:
        sys.exit("Usage: picture.py PROGRAM FILE")
    chat, file = os.path.abspath(sys.argv[1]), sys.argv[2]
    picture = "\n".join(draw(run(chat))) + "\n"
    with open(file, "w", encoding="utf-8") as out:
        out.write(picture)


main()
