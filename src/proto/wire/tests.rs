//! Tests of the wire format: exact bytes, limits and arbitrary input.

use super::*;
use crate::proto::id::MessageId;
use crate::proto::name::Name;
use proptest::prelude::*;

#[test]
fn a_datagram_is_emitted_as_documented() {
    let id = MessageId { incarnation: Incarnation(1), number: 2 };
    let head = Header { n: Some(3), low: Some(3), ack: Some(9), ..Header::new(Incarnation(1), Some(Incarnation(2))) };
    let lines = Frame::Msg { id, at: 5, after: None, text: "hi".into() }.lines();
    let bytes = emit(&head, lines.iter().map(String::as_str));
    let shown = String::from_utf8(bytes.clone()).unwrap();
    let incarnation = |n| format!("{n:032x}");
    let first = format!(r#"{{"chat":1,"me":"{}","you":"{}","n":3,"low":3,"ack":9}}"#, incarnation(1), incarnation(2));
    let second = format!(r#"{{"t":"msg","id":"{}.2","at":5,"text":"hi"}}"#, incarnation(1));
    assert_eq!(shown, format!("{first}\n{second}\n"));
    assert_eq!(parse(&bytes).unwrap().head, head);
}

#[test]
fn the_longest_header_is_within_its_limit() {
    let most = Some(u64::MAX);
    let head = Header {
        n: most,
        low: most,
        ack: most,
        got: vec![128; MAX_GOT],
        wait: true,
        ask: Some(u32::MAX),
        answer: Some(u32::MAX),
        ..Header::new(Incarnation(u128::MAX), Some(Incarnation(u128::MAX)))
    };
    assert!(emit(&head, []).len() <= MAX_HEAD, "{}", emit(&head, []).len());
}

#[test]
fn malformed_datagrams_and_other_versions_are_distinguished() {
    assert_eq!(parse(b""), Err(Malformed::NotOurs));
    assert_eq!(parse(b"hello\n"), Err(Malformed::NotOurs));
    assert_eq!(parse(b"{}\n"), Err(Malformed::NotOurs));
    assert_eq!(parse(b"{\"chat\":2}\n"), Err(Malformed::Version));
    assert_eq!(parse(b"{\"chat\":2,\"me\":7}\n"), Err(Malformed::Version));
    assert_eq!(parse(&[b' '; MAX_DATAGRAM + 1]), Err(Malformed::TooLong));
    assert_eq!(refuse_version(b"{\"chat\":2}\n"), None);
    assert_eq!(refuse_version(&[b'x'; 40]).as_deref(), Some(&b"{\"chat\":1,\"no\":\"version\"}\n"[..]));
}

#[test]
fn gone_is_no_longer_than_the_shortest_numbered_datagram() {
    let question = emit(&Header { n: Some(1), ..Header::new(Incarnation(1), Some(Incarnation(2))) }, []);
    assert!(emit(&Header::gone(Incarnation(2), Incarnation(1)), []).len() <= question.len());
}

#[test]
fn tokens_and_cookies_within_their_limits_can_be_repeated() {
    let parsed = |frame: Frame| {
        let lines = frame.lines();
        parse(&emit(&Header::new(Incarnation(1), None), lines.iter().map(String::as_str)))
            .unwrap()
            .frames
            .pop()
            .unwrap()
    };
    // The longest encoding of a one-byte character in JSON has six bytes.
    let escaped = |length| "\u{1}".repeat(length);
    let hello = |token| Frame::Hello { token: escaped(token) };
    assert_eq!(parsed(hello(MAX_TOKEN)), hello(MAX_TOKEN));
    assert_eq!(parsed(hello(MAX_TOKEN + 1)), Frame::Unknown);
    let challenge = |token, cookie| Frame::Challenge { token: escaped(token), cookie: escaped(cookie) };
    let longest = challenge(MAX_TOKEN, MAX_COOKIE);
    assert_eq!(parsed(longest.clone()), longest);
    assert_eq!(parsed(challenge(MAX_TOKEN + 1, 1)), Frame::Unknown);
    assert_eq!(parsed(challenge(1, MAX_COOKIE + 1)), Frame::Unknown);
    let (name, via) = (Name::new(&"x".repeat(Name::MAX)).unwrap(), std::net::IpAddr::from([u16::MAX; 8]));
    let reg = |cookie| Frame::Reg { r: u64::MAX, name: name.clone(), cookie: escaped(cookie), via };
    assert_eq!(parsed(reg(MAX_COOKIE)), reg(MAX_COOKIE));
    assert_eq!(parsed(reg(MAX_COOKIE + 1)), Frame::Unknown);
    assert!(longest.lines().iter().chain(&reg(MAX_COOKIE).lines()).all(|line| line.len() < MAX_FRAME));
}

#[test]
fn numbers_above_the_maximum_are_malformed() {
    for member in ["n", "low", "ack"] {
        let head = |number: u64| format!("{{\"chat\":1,\"{member}\":{number}}}\n");
        assert!(parse(head(MAX_NUMBER).as_bytes()).is_ok(), "{member}");
        for number in [MAX_NUMBER + 1, u64::MAX] {
            assert_eq!(parse(head(number).as_bytes()).err(), Some(Malformed::NotOurs), "{member}");
        }
    }
}

#[test]
fn unknown_and_malformed_frames_are_ignored_one_by_one() {
    let bytes = b"{\"chat\":1}\n{\"t\":\"later\"}\n{\"t\":\"bye\"}\nnonsense\n{\"t\":\"part\"}\n";
    let frames = parse(bytes).unwrap().frames;
    assert_eq!(frames, [Frame::Unknown, Frame::Bye, Frame::Unknown, Frame::Unknown]);
}

proptest! {
    #[test]
    fn any_text_is_split_into_fitting_lines_and_reassembled(text in "\\PC{0,900}|[\\x00-\\x1f\"\\\\é🎈]{0,900}") {
        let id = MessageId { incarnation: Incarnation(1), number: 2 };
        let lines = Frame::Msg { id, at: 0, after: None, text: text.clone() }.lines();
        let mut together = String::new();
        for line in &lines {
            prop_assert!(line.len() < MAX_FRAME);
            match parse(&emit(&Header::new(Incarnation(1), None), [line.as_str()])).unwrap().frames.pop() {
                Some(Frame::Part { text } | Frame::Msg { text, .. }) => together.push_str(&text),
                other => prop_assert!(false, "{other:?}"),
            }
        }
        prop_assert_eq!(together, text);
    }

    #[test]
    fn parsing_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..1300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn parsing_a_datagram_with_one_changed_byte_never_panics(at in 0usize..90, byte in any::<u8>()) {
        let mut bytes = emit(&Header::new(Incarnation(7), Some(Incarnation(8))), ["{\"t\":\"alive\",\"table\":3}"]);
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        let _ = parse(&bytes);
    }
}

#[test]
fn a_refusal_is_never_refused() {
    assert!(refuse_version(b"{\"chat\":2,\"me\":\"0123456789\"}\n").is_some());
    for refusal in ["{\"chat\":2,\"no\":\"version\"}\n", "{\"chat\":2,\"no\":null,\"padding\":\"0123456789\"}\n"] {
        assert_eq!(refuse_version(refusal.as_bytes()), None, "{refusal}");
    }
}
