#!/usr/bin/env python3
"""A chat program of somebody else: the classic edition, with a protocol of its own, written the way students do.

It prints without flushing, its lines begin with a newline and end in none, its listener keeps the process alive when
the input is over, and Ctrl-C ends the thread of the input alone.

    chatapp.py [--fault NAME]... -s PORT
    chatapp.py [--fault NAME]... -c NAME SERVER-IP SERVER-PORT CLIENT-PORT
"""

import json
import os
import random
import re
import socket
import sys
import threading
import time

FAULTS = set()
while len(sys.argv) > 2 and sys.argv[1] == "--fault":
    FAULTS.add(sys.argv[2])
    del sys.argv[1:3]

WAIT = 0.5
ATTEMPTS = 6 if "six-attempts" in FAULTS else 1 if "never-retries" in FAULTS else 5
MANNERS = {"hard-to-end", "leaves-children", "deaf", "closes-terminal", "floods", "fast-talker"}


# What another class has its programs say.
OTHER_WORDS = [
    (r"\[Welcome, You are registered\.\]", r"Welcome!"),
    (r"\[Message received by (\S+)\.\]", r"ACK from \1 <"),
    (r"\[No ACK from (\S+), message sent to server\.\]", r"\1 is silent, asking the server"),
    (r"\[Exiting\]", r"Good bye"),
    (r"(\w+): (\d{4}-\S+Z) (.*)", r"\1 said (\2): \3"),
    (r"(\w+): (.*)", r"\1 says \2"),
]


def reword(text):
    for sentence, words in OTHER_WORDS:
        if re.fullmatch(sentence, text):
            return re.sub(sentence, words, text)
    return text


def show(text):
    if "other-words" in FAULTS:
        print("\nchat> " + reword(text), end="")
    else:
        print("\n>>> " + text, end="")


def dump(sock, message, address):
    sock.sendto(json.dumps(message).encode(), address)


class Server:
    def __init__(self, port):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("", port))
        self.table = {}
        self.mail = {}

    def tell_all(self):
        for name, (ip, port, online) in self.table.items():
            if online:
                dump(self.sock, {"type": "table", "table": self.table}, (ip, port))

    def run(self):
        while True:
            try:
                data, address = self.sock.recvfrom(65536)
            except KeyboardInterrupt:
                os._exit(0)
            message = json.loads(data)
            kind = message["type"]
            if kind == "reg":
                name = message["name"]
                self.table[name] = (address[0], address[1], True)
                mail = self.mail.pop(name, []) if "forgets-mail" not in FAULTS else []
                dump(self.sock, {"type": "welcome", "mail": mail}, address)
                self.tell_all()
            elif kind == "dereg":
                ip, port, _ = self.table[message["name"]]
                self.table[message["name"]] = (ip, port, False)
                dump(self.sock, {"type": "bye"}, address)
                self.tell_all()
            elif kind == "offline":
                box = self.mail.setdefault(message["to"], [])
                if message["id"] not in [kept[0] for kept in box]:
                    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                    box.append((message["id"], message["from"], now, message["text"]))
                dump(self.sock, {"type": "saved"}, address)


class Client:
    def __init__(self, name, ip, server_port, port):
        self.name = name
        self.server = (ip, server_port)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("", port))
        self.table = {}
        self.online = True
        self.answers = {}
        self.seen = set()
        self.changed = threading.Condition()

    def listen(self):
        while True:
            data, address = self.sock.recvfrom(65536)
            message = json.loads(data)
            kind = message["type"]
            if kind == "message":
                if not self.online:
                    continue
                # The first acknowledgement gets lost, so that the message comes again.
                lost = "shows-twice" in FAULTS and message["id"] not in self.seen
                if message["id"] not in self.seen or "shows-twice" in FAULTS:
                    show(message["from"] + ": " + message["text"])
                self.seen.add(message["id"])
                if not lost:
                    dump(self.sock, {"type": "ack:" + message["id"]}, address)
            elif kind == "table":
                self.table = message["table"]
                if self.online:
                    show("[Client table updated.]")
            elif kind == "welcome":
                self.online = True
                show("[Welcome, You are registered.]")
                if message["mail"]:
                    show("[You have messages]")
                for _, sender, when, text in message["mail"]:
                    show(sender + ": " + when + " " + text)
                self.note(kind)
            else:
                self.note(kind)

    def note(self, kind):
        with self.changed:
            self.answers[kind] = True
            self.changed.notify_all()

    def ask(self, message, address, answer, attempts):
        """Sends until the answer is there; says whether it came."""
        for _ in range(attempts):
            with self.changed:
                dump(self.sock, message, address)
                if self.changed.wait_for(lambda: self.answers.pop(answer, False), WAIT):
                    return True
        return False

    def ask_server(self, message, answer):
        if not self.ask(message, self.server, answer, ATTEMPTS):
            show("[Server not responding]")
            show("[Exiting]")
            sys.stdout.flush()
            os._exit(3)

    def send(self, name, text):
        if name not in self.table:
            show("[Client " + name + " does not exist.]")
            return
        ip, port, online = self.table[name]
        number = str(random.random())
        message = {"type": "message", "from": self.name, "to": name, "text": text, "id": number}
        attempts = 2 if "shows-twice" in FAULTS else 1
        if online and self.ask(message, (ip, port), "ack:" + number, attempts):
            end = " without brackets" if "no-brackets" in FAULTS else None
            show("Message received by " + name if end else "[Message received by " + name + ".]")
            return
        show("[No ACK from " + name + ", message sent to server.]")
        self.ask_server(dict(message, type="offline"), "saved")
        show("[Messages received by the server and saved]")

    def dereg(self):
        self.online = False
        self.ask_server({"type": "dereg", "name": self.name}, "bye")
        show("[You are Offline. Bye.]")
        if "exits-on-dereg" in FAULTS:
            sys.stdout.flush()
            os._exit(0)

    def command(self, line):
        word, _, rest = line.partition(" ")
        if "crashes-on-empty" in FAULTS and not line:
            try:
                line.split()[0]
            except IndexError:
                sys.stderr.write("IndexError: list index out of range\n")
                os._exit(1)
        if word == "send":
            name, _, text = rest.partition(" ")
            self.send(name, text)
        elif word == "dereg":
            self.dereg()
        elif word == "reg":
            self.ask_server({"type": "reg", "name": self.name}, "welcome")
        elif word == "exit":
            self.dereg() if self.online else None
            sys.stdout.flush()
            os._exit(0)
        elif line:
            show("[Invalid command]")

    def run(self):
        threading.Thread(target=self.listen).start()
        self.ask_server({"type": "reg", "name": self.name}, "welcome")
        while True:
            # The prompt of input() goes to the terminal without the help of print.
            line = input()
            self.command(line)


def misbehave():
    """What has nothing to do with chatting."""
    import signal
    import subprocess

    if "hard-to-end" in FAULTS:
        for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
    if "leaves-children" in FAULTS:
        for apart in (False, True):
            subprocess.Popen(["sleep", "1000"], start_new_session=apart)
        show("[Welcome, You are registered.]")
    if "closes-terminal" in FAULTS:
        show("good bye")
        sys.stdout.flush()
        for descriptor in (0, 1, 2):
            os.close(descriptor)
    if "deaf" in FAULTS:
        show("la la la")
    if "floods" in FAULTS:
        show("here it comes\n")
        input()
        while True:
            print("x" * 1000000)
    if "fast-talker" in FAULTS:
        show("[Message received")
        input()
        print(" by nobody at all.]", end="")
    if FAULTS & MANNERS:
        while True:
            time.sleep(1000)


if sys.argv[1] == "-s":
    Server(int(sys.argv[2])).run()
else:
    misbehave()
    Client(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])).run()
