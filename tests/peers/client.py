#!/usr/bin/env python3
"""A client of this chat in Python's standard library alone. It speaks wire format 2, described in src/proto/README.md.

    client.py NAME SERVER-IP SERVER-PORT CLIENT-PORT [SECRET-HEX]

It reads commands from standard input: `send NAME TEXT`, `send_all TEXT` and `exit`. Without SECRET-HEX it makes a new
key. It sends a message until its reader has shown it. It has no offline mail, no groups, no de-registration and no
look-ups for partial tables.
"""

import hmac
import json
import os
import select
import socket
import sys
import time
from types import SimpleNamespace

TAG_LINE = 34  # bytes: `#`, 32 digits, newline
PIECE = 100  # characters of a text in one frame; each has at most 6 bytes
MAX_TEXT = 65536  # characters
WINDOW = 1024  # numbers beyond which a datagram is too old or too early
IN_FLIGHT = 10  # contents at once: the initial window of RFC 9002
RETRANSMIT = 0.04  # seconds
ATTEMPT, ATTEMPTS = 0.5, 5  # seconds for an attempt to reach the server, and their number
POSTS = {"direct": "{}: {}", "channel": "[Channel_Message {}: {}]", "group": "Group_Message {}: {}"}


def show(line):
    print(">>> " + "".join(char if char.isprintable() else "?" for char in line), flush=True)


def x25519(secret, point=(9).to_bytes(32, "little")):
    """The function X25519 of RFC 7748 §5: a Montgomery ladder. Its time depends on the secret."""
    p = 2**255 - 19
    k = int.from_bytes(secret, "little") & (2**254 - 8) | 2**254
    x1 = int.from_bytes(point, "little") & (2**255 - 1)
    x2, z2, x3, z3 = 1, 0, x1, 1
    for at in reversed(range(255)):
        if k >> at & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
        da, cb = (x3 - z3) * (x2 + z2), (x3 + z3) * (x2 - z2)
        aa, bb = (x2 + z2) ** 2 % p, (x2 - z2) ** 2 % p
        x3, z3 = (da + cb) ** 2 % p, x1 * (da - cb) ** 2 % p
        x2, z2 = aa * bb % p, (aa - bb) * (aa + 121665 * (aa - bb)) % p
        if k >> at & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, p - 2, p) % p).to_bytes(32, "little")


def hkdf(secret, info):
    """HKDF-SHA-256 of RFC 5869 with an empty salt and 32 bytes of output."""
    return hmac.digest(hmac.digest(b"", secret, "sha256"), info + b"\x01", "sha256")


def tag_line(key, body):
    return f"#{hmac.digest(key, body, 'sha256')[:16].hex()}\n".encode()


def encode(*values):
    """A line of JSON for each value."""
    return "".join(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n" for value in values).encode()


def encode_ranges(numbers, limit):
    """The newest ranges of received datagrams: [largest, count, gap, count, gap, count, ...]."""
    expected = max(numbers)
    ranges = [expected, 0]
    for number in sorted(numbers, reverse=True):
        if number != expected:
            ranges += [expected - number, 0]
        ranges[-1] += 1
        expected = number - 1
    return ranges[: 2 * limit]


def decode_ranges(ranges):
    """The lowest and the highest number of each range."""
    lowest = 2 * ranges[0] + 1 if ranges else 0  # the first pair begins with the largest number instead of a gap
    for gap, count in zip(ranges[::2], ranges[1::2]):
        highest = lowest - 1 - gap
        lowest = highest - count + 1
        yield lowest, highest


class Link:
    """A link to one incarnation: numbers, tags, acknowledgements, retransmission and reassembly."""

    def __init__(self, client, peer, name, addr, key):
        self.client, self.peer, self.name, self.addr = client, peer, name, addr
        shared = x25519(client.secret, bytes.fromhex(key))
        if not any(shared):
            raise ValueError("this key gives everybody the same secret")
        self.sending = hkdf(shared, f"chat 2 {client.me} {peer}".encode())  # the key of each direction
        self.receiving = hkdf(shared, f"chat 2 {peer} {client.me}".encode())
        self.introduction = {}  # `key` and `cookie`, until the server has answered
        self.pn = self.seq = 0  # the last numbers that this side used
        self.contents = {}  # by seq, in order: what the peer has not processed
        self.in_flight = {}  # by pn: the content of each datagram that is not acknowledged
        self.received, self.arrived = set(), 0.0  # the last numbers of the peer, and when the highest arrived
        self.next, self.early, self.text = 1, {}, ""  # the next seq, the frames from there, the parts of a text

    def push(self, frame):
        """Queues a frame, with a long text in `part` frames before it."""
        text = frame.get("text", "")
        pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)] or [""]
        frames = [{"t": "part", "text": piece} for piece in pieces[:-1]]
        for frame in [*frames, {**frame, "text": pieces[-1]} if text else frame]:
            self.seq += 1
            self.contents[self.seq] = SimpleNamespace(frame=frame, sent_at=0.0, is_acknowledged=False)

    def transmit(self, frames=(), **keys):
        """Sends a datagram with all acknowledgements."""
        self.pn += 1
        header = {"chat": 2, "me": self.client.me, "you": self.peer, **self.introduction, "pn": self.pn, **keys}
        if self.received:
            delay = min(int((time.monotonic() - self.arrived) * 1e6), 9_999_999)
            header.update(ack=encode_ranges(self.received, 8 if frames else 32), delay=delay, done=self.next - 1)
        body = encode(header, *frames)
        self.client.socket.sendto(body + tag_line(self.sending, body), self.addr)

    def transmit_due(self, now):
        """Sends new and lost contents. When all are acknowledged and not processed, asks for their outcome."""
        contents = list(self.contents.items())[:IN_FLIGHT]
        for seq, content in contents:
            if not content.is_acknowledged and now - content.sent_at >= RETRANSMIT:
                content.sent_at = now
                self.in_flight[self.pn + 1] = content
                self.transmit([content.frame], seq=seq, low=contents[0][0])
        if contents and all(now - content.sent_at >= RETRANSMIT for _, content in contents):
            contents[0][1].sent_at = now
            self.transmit(ask=0)

    def receive(self, now, header, frames):
        """Processes a datagram with a correct tag, unless it is a replay."""
        pn, highest = header["pn"], max(self.received, default=0)
        if pn in self.received or pn <= max(highest - WINDOW, 0):
            return
        self.arrived = now if pn > highest else self.arrived
        self.received = {number for number in self.received | {pn} if number > max(pn, highest) - WINDOW}
        self.introduction = {}
        for low, high in decode_ranges(header.get("ack", [])):
            for number in [number for number in self.in_flight if low <= number <= high]:
                self.in_flight.pop(number).is_acknowledged = True
        for seq in [seq for seq in self.contents if seq <= header.get("done", 0)]:
            if self.contents.pop(seq).frame["t"] == "msg":
                show(f"[Message received by {self.name}.]")
        if header.get("low", 0) > self.next:
            self.next, self.text = header["low"], ""  # the peer gave up the contents below
        if "seq" not in header:
            all(self.client.handle(self, frame) for frame in frames)
        elif self.next <= header["seq"] < self.next + WINDOW:
            self.early.setdefault(header["seq"], frames)
        while self.next in self.early and self.pass_on(self.early[self.next]):
            del self.early[self.next]
            self.next += 1
        if "seq" in header or "ask" in header:
            self.transmit(**({"answer": header["ask"]} if "ask" in header else {}))

    def pass_on(self, frames):
        """Passes on the frames of one content. False if one of them must wait."""
        while frames:
            frame = dict(frames[0])
            if "text" in frame:
                frame["text"] = (self.text + frame["text"])[:MAX_TEXT]
            if frame["t"] != "part" and not self.client.handle(self, frame):
                return False
            if "text" in frame:
                self.text = frame["text"] if frame["t"] == "part" else ""
            frames.pop(0)
        return True


class Client:
    """The client of one user: registration, table, messages and commands."""

    def __init__(self, name, server_ip, server_port, port, secret=None):
        self.name, self.me = name, os.urandom(16).hex()
        self.secret = bytes.fromhex(secret) if secret else os.urandom(32)
        found = socket.getaddrinfo(server_ip, int(server_port), type=socket.SOCK_DGRAM)[0]
        self.socket, self.server_addr = socket.socket(*found[:2]), found[4]
        self.socket.bind(("", int(port)))
        show(f"[Client listening on port {self.socket.getsockname()[1]}]")
        self.token, self.server, self.links, self.is_online = os.urandom(8).hex(), None, {}, False
        self.table, self.seen = {}, set()  # the incarnations by name; ids of messages
        self.requests, self.last_request, self.last_message = set(), 0, 0

    def on_datagram(self, now, data, addr):
        lines, body = data.split(b"\n"), data[:-TAG_LINE]
        header = json.loads(lines[0])
        link = self.links.get(header["me"])
        if header["chat"] != 2 or header.get("you", self.me) != self.me:
            return
        if link and addr[:2] == link.addr[:2] and hmac.compare_digest(data, body + tag_line(link.receiving, body)):
            link.receive(now, header, [json.loads(line) for line in lines[1:-2]])
        elif not self.server and addr[:2] == self.server_addr[:2]:
            challenge = json.loads(lines[1])
            if challenge["t"] == "challenge" and challenge["token"] == self.token:
                self.server = self.links[header["me"]] = Link(self, header["me"], "", addr, challenge["key"])
                self.server.introduction = {"key": x25519(self.secret).hex(), "cookie": challenge["cookie"]}
                self.request({"t": "reg", "name": self.name, "via": addr[0]})

    def handle(self, link, frame):
        """Handles a frame. False if it must wait for another one."""
        kind = frame["t"]
        if link is not self.server:
            if "after" in frame and f"{link.peer}.{frame['after']}" not in self.seen:
                return False
            self.display(frame, link.name)
        elif kind == "welcome":
            self.requests.discard(frame["r"])
            show("[Welcome, You are registered.]")
        elif kind == "refused":
            sys.exit(f"The server refused the registration: {frame['reason']}.")
        elif kind == "rows":
            self.update_table(frame)
        elif kind == "post":
            self.display(frame, frame["from"])
        elif kind == "answer":
            self.requests.discard(frame["r"])
            show("[Message received by Server.]" if frame["is"] == "accepted" else f"[Not accepted: {frame['is']}.]")
        elif kind == "bye":
            sys.exit()
        return True

    def update_table(self, frame):
        self.table = {} if frame.get("whole") else self.table
        for name in frame.get("gone", []):
            self.table.pop(name, None)
        for name, addr, peer, key, is_online in frame.get("rows", []):
            self.table[name] = peer
            if is_online and peer not in self.links and peer != self.me:
                host, port = addr.rsplit(":", 1)
                self.links[peer] = Link(self, peer, name, (host.strip("[]"), int(port)), key)
        if frame["last"]:
            show("[Client table updated.]")
            self.is_online = True

    def display(self, message, name):
        """Shows a message, unless it came before on another way."""
        if message["id"] not in self.seen:
            self.seen.add(message["id"])
            show(POSTS[message.get("kind", "direct")].format(name, message["text"]))

    def request(self, frame):
        self.last_request += 1
        self.requests.add(self.last_request)
        self.server.push({**frame, "r": self.last_request})

    def command(self, line):
        word, _, rest = line.partition(" ")
        name, _, text = rest.partition(" ") if word == "send" else ("", "", rest)
        self.last_message += 1
        message = {"id": f"{self.me}.{self.last_message}", "at": time.time_ns() // 1000, "text": text}
        if word == "send_all" and text:
            self.request({"t": "all", **message})
        elif word == "send" and text and self.table.get(name) in self.links:
            self.links[self.table[name]].push({"t": "msg", **message})
        elif line not in ("", "exit"):
            show("[Invalid command]")

    def turn(self, inputs=()):
        """Sends what is due, waits for a short time, and handles a datagram. True if there is input."""
        for link in list(self.links.values()):
            link.transmit_due(time.monotonic())
        ready, _, _ = select.select([self.socket, *inputs], [], [], RETRANSMIT / 4)
        if self.socket in ready:
            try:
                self.on_datagram(time.monotonic(), *self.socket.recvfrom(65536))
            except (ValueError, KeyError, TypeError, IndexError):
                pass  # a stranger can send anything
        return len(ready) > (self.socket in ready)

    def turns(self, seconds, is_over):
        end = time.monotonic() + seconds
        while not is_over() and time.monotonic() < end:
            self.turn()

    def run(self):
        hello = encode({"chat": 2, "me": self.me}, {"t": "hello", "token": self.token, "pad": "0" * 256})
        for _ in range(ATTEMPTS):
            if not self.is_online:
                self.socket.sendto(hello, self.server_addr)
                self.turns(ATTEMPT, lambda: self.is_online)
        if not self.is_online:
            sys.exit("The server does not answer.")
        line = b"\n"
        while line not in (b"", b"exit\n"):
            if self.turn([sys.stdin]):
                line = sys.stdin.buffer.raw.readline()  # without a buffer, which select would not see
                self.command(line.decode().rstrip("\n"))
        self.turns(10, lambda: not self.requests and not any(link.contents for link in self.links.values()))
        for _ in range(3):
            self.server.transmit([{"t": "bye"}])
            self.turns(0.05, lambda: False)


if __name__ == "__main__":
    Client(*sys.argv[1:]).run()
