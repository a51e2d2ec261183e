//! A client in Python, written after the description of the wire format, talks to the server and to a client of this
//! program.

use crate::support::{Program, python};
use chat::proto::id::Incarnation;
use chat::proto::keys::{Identity, LinkKeys};

/// Runs the client.
const CLIENT: &str = r#"import runpy; runpy.run_path("client.py", run_name="__main__")"#;

/// Runs the client on a socket that loses every fifth datagram.
const LOSSY_CLIENT: &str = r#"
import itertools, runpy, socket

class LossySocket(socket.socket):
    numbers = itertools.count(1)

    def sendto(self, data, addr):
        return super().sendto(data, addr) if next(self.numbers) % 5 else len(data)

socket.socket = LossySocket
runpy.run_path("client.py", run_name="__main__")
"#;

/// Starts a client in Python. Checks its output until it has its table.
fn start(code: &str, name: &str, port: &str) -> Program {
    let client = python(code, [name, "127.0.0.1", port, "0"]).start();
    assert!(client.line().starts_with(">>> [Client listening on port "));
    assert_eq!(client.line(), ">>> [Welcome, You are registered.]");
    assert_eq!(client.line(), ">>> [Client table updated.]");
    client
}

/// Sends a direct message. Checks the next line of both clients.
fn send((from, sender): (&mut Program, &str), (to, reader): (&Program, &str), text: &str) {
    from.send(&format!("send {reader} {text}"));
    assert_eq!(to.line(), format!(">>> {sender}: {text}"));
    assert_eq!(from.line(), format!(">>> [Message received by {reader}.]"));
}

/// Sends a message to everybody. Checks the next line of both clients.
fn send_all((from, sender): (&mut Program, &str), to: &Program, text: &str) {
    from.send(&format!("send_all {text}"));
    assert_eq!(to.line(), format!(">>> [Channel_Message {sender}: {text}]"));
    assert_eq!(from.line(), ">>> [Message received by Server.]");
}

/// Ends both clients and checks that nothing else was printed.
fn leave(mut x: Program, mut y: Program) {
    x.send("exit");
    assert_eq!(x.end(), (Vec::new(), String::new(), Some(0)));
    assert_eq!(y.line(), ">>> [Client table updated.]");
    y.send("exit");
    assert_eq!(y.end(), (Vec::new(), String::new(), Some(0)));
}

#[test]
fn a_client_in_python_exchanges_messages_with_a_client_of_this_program() {
    let (server, port) = Program::server();
    let mut y = Program::client("y", &port, &[]);
    let mut x = start(CLIENT, "x", &port);
    assert_eq!(y.line(), ">>> [Client table updated.]");
    // The long text needs several datagrams. It has characters of 1 to 4 bytes, and one that JSON escapes.
    let long = "\"é€𝄞 \" 0123456".repeat(250);
    assert_eq!(long.len(), 5_000);
    for text in ["hi", "it's \"me\" \\ é", &long] {
        send((&mut x, "x"), (&y, "y"), text);
        send((&mut y, "y"), (&x, "x"), text);
        send_all((&mut x, "x"), &y, text);
        send_all((&mut y, "y"), &x, text);
    }
    leave(x, y);
    for line in ["y registered", "x registered", "x is offline", "y is offline"] {
        assert_eq!(server.line(), format!(">>> [Client {line}]"));
    }
}

#[test]
fn a_client_in_python_repeats_and_acknowledges_on_a_network_that_loses_datagrams() {
    let (_server, port) = Program::server_with(&["--ephemeral", "--fault", "loss=20%,seed=1"]);
    let mut y = Program::client("y", &port, &["--fault", "loss=20%,duplicate=30%,seed=2"]);
    let mut x = start(LOSSY_CLIENT, "x", &port);
    assert_eq!(y.line(), ">>> [Client table updated.]");
    for number in 1..=20 {
        send((&mut x, "x"), (&y, "y"), &format!("{number}"));
        send((&mut y, "y"), (&x, "x"), &format!("{number}"));
    }
    send((&mut x, "x"), (&y, "y"), &"-".repeat(5_000));
    send((&mut y, "y"), (&x, "x"), &"-".repeat(5_000));
    leave(x, y);
}

/// Runs Python code with the client as the module `client`. Returns the lines that it prints.
fn evaluate(code: &str) -> Vec<String> {
    let run = python(&format!("import client\nh = bytes.fromhex\n{code}"), [""; 0]).run();
    assert_eq!((run.stderr.as_str(), run.status), ("", Some(0)));
    run.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn keys_of_the_client_in_python_are_those_of_rfc_7748_and_rfc_5869() {
    let code = r#"
# RFC 7748 §5.2: two examples, and 1,000 iterations.
print(client.x25519(h("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                    h("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")).hex())
print(client.x25519(h("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"),
                    h("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493")).hex())
k = u = (9).to_bytes(32, "little")
for _ in range(1000):
    k, u = client.x25519(k, u), k
print(k.hex())
# RFC 7748 §6.1: the public key of Bob, and the secret that he shares with Alice.
bob = h("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
print(client.x25519(bob).hex())
print(client.x25519(bob, h("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")).hex())
# RFC 5869 A.3: the first 32 bytes with an empty salt and an empty info.
print(client.hkdf(bytes([0x0B] * 22), b"").hex())
"#;
    let expected = [
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d",
    ];
    assert_eq!(evaluate(code), expected);
}

#[test]
fn tags_of_the_client_in_python_are_those_of_this_program() {
    let (mine, yours) = (Identity::from_secret([1; 32]), Identity::from_secret([2; 32]));
    let (me, you) = (Incarnation(10), Incarnation(20));
    let keys = LinkKeys::new(&mine.agree(yours.public()).unwrap(), me, you);
    let code = format!(
        r#"
me = client.SimpleNamespace(me="{me}", secret=h("01" * 32))
link = client.Link(me, "{you}", "y", None, "{}")
for key in (link.sending, link.receiving):
    print(client.tag_line(key, b"hi")[1:-1].decode())
"#,
        yours.public()
    );
    let tags = evaluate(&code).into_iter().map(|tag| {
        let tag = u128::from_str_radix(&tag, 16).unwrap();
        tag.to_be_bytes()
    });
    let [sent, received] = tags.collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(sent, keys.tag(b"hi"));
    assert!(keys.verify(b"hi", received));
}

#[test]
fn ranges_of_the_client_in_python_are_those_of_the_wire_format() {
    let code = r#"
received = {100, 101, 105, 106, 107, 108, 109, 110}
print(client.encode_ranges(received, 32), client.encode_ranges(received, 1))
print(list(client.decode_ranges([110, 6, 3, 2])), list(client.decode_ranges([])))
"#;
    assert_eq!(evaluate(code), ["[110, 6, 3, 2] [110, 6]", "[(105, 110), (100, 101)] []"]);
}

#[test]
fn the_client_in_python_drops_replays_and_wrong_tags() {
    let code = r#"
client.show = lambda line: None
x = client.Client("x", "127.0.0.1", "9", "0")
x.links["Y"] = link = client.Link(x, "Y", "y", ("127.0.0.1", 9), client.x25519(bytes([2] * 32)).hex())
x.handle = lambda link, frame: handled.append(frame["t"])
handled = []
for number, key, port in [
    (1, link.receiving, 9),
    (1, link.receiving, 9),  # a replay
    (2, link.sending, 9),  # a reflection
    (2, link.receiving, 10),  # another address
    (2000, link.receiving, 9),
    (977, link.receiving, 9),
    (976, link.receiving, 9),  # below the window of 1,024 numbers
]:
    body = client.encode({"chat": 2, "me": "Y", "you": x.me, "pn": number}, {"t": f"frame {number}"})
    x.on_datagram(0.0, body + client.tag_line(key, body), ("127.0.0.1", port))
print(*handled, sep=", ")
"#;
    assert_eq!(evaluate(code), ["frame 1, frame 2000, frame 977"]);
}
