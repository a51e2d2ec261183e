//! Tests of the wire format: exact bytes, limits and arbitrary input.

use super::*;
use crate::proto::id::MessageId;
use crate::proto::link::packets::WINDOW;
use proptest::prelude::*;

/// By how much a limit may exceed the greatest length that it has room for.
const SLACK: usize = 8;

fn datagram(head: &Header, frame: Frame) -> Vec<u8> {
    let lines = frame.lines();
    emit(head, lines.iter().map(String::as_str))
}

fn word(length: usize) -> String {
    "w".repeat(length)
}

/// The longest ranges of this count: their numbers have many digits and lie in the window of the receiver.
fn longest_ranges(count: usize) -> Vec<u64> {
    let spans = 2 * count as u64 - 1;
    // With `long` numbers of three digits, the others still have two.
    let long = (0..=spans).rev().find(|long| 100 * long + 10 * (spans - long) <= WINDOW).unwrap();
    let mut ranges = vec![MAX_NUMBER];
    ranges.extend((0..spans).map(|at| if at < long { 100 } else { 10 }));
    ranges
}

/// A header with the greatest values of all keys that any datagram of a link can have.
fn longest_header() -> Header {
    let most = Some(MAX_NUMBER);
    Header {
        pn: most,
        low: most,
        done: MAX_NUMBER,
        wait: true,
        ask: Some(u32::MAX),
        ..Header::new(Incarnation(u128::MAX), Some(Incarnation(u128::MAX)))
    }
}

fn length(head: &Header) -> usize {
    assert!(head.is_within_limits());
    emit(head, []).len()
}

#[test]
fn a_datagram_is_emitted_as_documented() {
    let id = MessageId { incarnation: Incarnation(1), number: 2 };
    let head = Header {
        pn: Some(7),
        seq: Some(3),
        low: Some(3),
        ack: vec![110, 6, 3, 2],
        delay: 40,
        done: 9,
        ..Header::new(Incarnation(1), Some(Incarnation(2)))
    };
    let mut bytes = datagram(&head, Frame::Msg { id, at: 5, after: None, text: "hi".into() });
    let mut tag = [0; TAG];
    (tag[0], tag[TAG - 1]) = (0x0a, 0xf1);
    append_tag(&mut bytes, tag);
    let shown = String::from_utf8(bytes.clone()).unwrap();
    let incarnation = |n| format!("{n:032x}");
    let first = format!(
        r#"{{"chat":2,"me":"{}","you":"{}","pn":7,"seq":3,"low":3,"ack":[110,6,3,2],"delay":40,"done":9}}"#,
        incarnation(1),
        incarnation(2)
    );
    let second = format!(r#"{{"t":"msg","id":"{}.2","at":5,"text":"hi"}}"#, incarnation(1));
    assert_eq!(shown, format!("{first}\n{second}\n#0a{}f1\n", "00".repeat(TAG - 2)));
    let parsed = parse(&bytes).unwrap();
    assert_eq!(parsed.head, head);
    assert_eq!(parsed.body, format!("{second}\n").as_bytes());
    assert_eq!(parsed.signed, &bytes[..bytes.len() - TAG_LINE]);
    assert_eq!(parsed.tag, Some(tag));
}

#[test]
fn the_longest_header_beside_frames_is_within_its_limit() {
    let head = Header { seq: Some(MAX_NUMBER), ..longest_header() };
    // A header has no acknowledgement before the first authentic datagram of the peer, which ends the opening.
    let opening = Header { key: Some(PublicKey([0xff; 32])), cookie: Some(word(MAX_COOKIE)), ..head.clone() };
    let with_ranges =
        Header { ack: longest_ranges(MAX_RANGES), delay: MAX_DELAY, answer: Some(u32::MAX), ..head.clone() };
    let longest = length(&opening).max(length(&with_ranges));
    assert!((longest..=longest + SLACK).contains(&MAX_HEAD), "{} and {}", length(&opening), length(&with_ranges));
    for head in [opening, with_ranges] {
        assert_eq!(parse(&datagram(&head, Frame::Bye)).map(|datagram| datagram.head), Ok(head));
    }
}

#[test]
fn the_longest_header_without_frames_is_within_its_limit() {
    let ack = longest_ranges(MAX_BARE_RANGES);
    let head = Header { ack, delay: MAX_DELAY, answer: Some(u32::MAX), ..longest_header() };
    let longest = length(&head);
    assert!((longest..=longest + SLACK).contains(&MAX_BARE_HEAD), "{longest}");
    let mut bytes = emit(&head, []);
    append_tag(&mut bytes, [0; TAG]);
    assert_eq!(parse(&bytes).unwrap().head, head);
    assert!(length(&head) > MAX_HEAD);
    assert_eq!(parse(&datagram(&head, Frame::Bye)), Err(Malformed::NotOurs), "too long beside a frame");
}

#[test]
fn malformed_datagrams_and_other_versions_are_distinguished() {
    assert_eq!(parse(b""), Err(Malformed::NotOurs));
    assert_eq!(parse(b"hello\n"), Err(Malformed::NotOurs));
    assert_eq!(parse(b"{}\n"), Err(Malformed::NotOurs));
    assert_eq!(parse(b"{\"chat\":2}"), Err(Malformed::NotOurs), "a line has an end");
    assert_eq!(parse(b"{\"chat\":1}\n"), Err(Malformed::Version));
    assert_eq!(parse(b"{\"chat\":3}\n"), Err(Malformed::Version));
    assert_eq!(parse(b"{\"chat\":3,\"me\":7}\n"), Err(Malformed::Version));
    assert_eq!(parse(&[b' '; MAX_DATAGRAM + 1]), Err(Malformed::TooLong));
    assert_eq!(refuse_version(b"{\"chat\":3}\n"), None);
    assert_eq!(refuse_version(&[b'x'; 40]).as_deref(), Some(&b"{\"chat\":2,\"no\":\"version\"}\n"[..]));
}

#[test]
fn gone_is_no_longer_than_the_shortest_datagram_of_a_link() {
    let question = Header { pn: Some(1), ask: Some(0), ..Header::new(Incarnation(1), Some(Incarnation(2))) };
    let mut question = emit(&question, []);
    append_tag(&mut question, [0; TAG]);
    assert!(emit(&Header::gone(Incarnation(2), Incarnation(1)), []).len() <= question.len());
}

#[test]
fn a_hello_has_exactly_its_least_length_and_is_not_shorter_than_any_challenge() {
    for token in ["", "t", "0123456789abcdef"] {
        let bytes = emit_hello(Incarnation(u128::MAX), token);
        assert_eq!(bytes.len(), MIN_HELLO);
        let hello = parse(&bytes).unwrap().only_frame();
        assert!(matches!(hello, Some(Frame::Hello { token: parsed, .. }) if parsed == token));
    }
    let (token, cookie, key) = (word(MAX_TOKEN), word(MAX_COOKIE), PublicKey([0xff; 32]));
    let challenge = Frame::Challenge { token, cookie, key };
    let longest = datagram(&Header::new(Incarnation(u128::MAX), None), challenge);
    assert!(longest.len() <= MIN_HELLO, "{}", longest.len());
}

#[test]
fn tokens_and_cookies_are_words_within_their_limits() {
    let parsed = |frame: Frame| parse(&datagram(&Header::new(Incarnation(1), None), frame)).unwrap().only_frame();
    let hello = |token| Frame::Hello { token, pad: String::new() };
    assert_eq!(parsed(hello(word(MAX_TOKEN))), Some(hello(word(MAX_TOKEN))));
    let challenge = |token, cookie| Frame::Challenge { token, cookie, key: PublicKey([1; 32]) };
    let longest = challenge(word(MAX_TOKEN), word(MAX_COOKIE));
    assert_eq!(parsed(longest.clone()), Some(longest));
    // The length of other characters changes when they are repeated in JSON.
    for other in ["é", "\"", "\u{1}", " ", "\n", "-"] {
        assert_eq!(parsed(hello(other.to_owned())), Some(Frame::Unknown), "{other:?}");
        assert_eq!(parsed(challenge(word(1), other.to_owned())), Some(Frame::Unknown), "{other:?}");
        let head = Header { cookie: Some(other.to_owned()), ..Header::new(Incarnation(1), Some(Incarnation(2))) };
        assert_eq!(parse(&emit(&head, [])), Err(Malformed::NotOurs), "{other:?}");
    }
    assert_eq!(parsed(hello(word(MAX_TOKEN + 1))), Some(Frame::Unknown));
    assert_eq!(parsed(challenge(word(MAX_TOKEN + 1), word(1))), Some(Frame::Unknown));
    assert_eq!(parsed(challenge(word(1), word(MAX_COOKIE + 1))), Some(Frame::Unknown));
    let head = |length| Header { cookie: Some(word(length)), ..Header::default() };
    assert!(head(MAX_COOKIE).is_within_limits() && !head(MAX_COOKIE + 1).is_within_limits());
}

#[test]
fn numbers_above_the_maximum_are_malformed() {
    for (key, maximum) in
        [("pn", MAX_NUMBER), ("seq", MAX_NUMBER), ("low", MAX_NUMBER), ("done", MAX_NUMBER), ("delay", MAX_DELAY)]
    {
        let head = |number: u64| format!("{{\"chat\":2,\"{key}\":{number}}}\n");
        assert!(parse(head(maximum).as_bytes()).is_ok(), "{key}");
        for number in [maximum + 1, u64::MAX] {
            assert_eq!(parse(head(number).as_bytes()), Err(Malformed::NotOurs), "{key}");
        }
    }
    let ack = |largest: u64| format!("{{\"chat\":2,\"ack\":[{largest},1]}}\n");
    assert!(parse(ack(MAX_NUMBER).as_bytes()).is_ok());
    assert_eq!(parse(ack(MAX_NUMBER + 1).as_bytes()), Err(Malformed::NotOurs));
}

#[test]
fn the_number_of_acknowledged_ranges_is_limited() {
    let head = |ranges: usize| Header { ack: vec![1; 2 * ranges], ..Header::new(Incarnation(1), Some(Incarnation(2))) };
    assert!(parse(&emit(&head(MAX_BARE_RANGES), [])).is_ok());
    assert_eq!(parse(&emit(&head(MAX_BARE_RANGES + 1), [])), Err(Malformed::NotOurs));
}

#[test]
fn the_number_of_frames_is_limited() {
    let bytes = emit(&Header::new(Incarnation(1), None), [r#"{"t":"bye"}"#; MAX_FRAMES + 1]);
    assert!(bytes.len() <= MAX_DATAGRAM);
    assert_eq!(parse(&bytes).unwrap().frames(), [const { Frame::Bye }; MAX_FRAMES]);
}

#[test]
fn unknown_and_malformed_frames_are_ignored_one_by_one() {
    let bytes = b"{\"chat\":2}\n{\"t\":\"later\"}\n{\"t\":\"bye\"}\nnonsense\n{\"t\":\"part\"}\n";
    let datagram = parse(bytes).unwrap();
    assert_eq!(datagram.frames(), [Frame::Unknown, Frame::Bye, Frame::Unknown, Frame::Unknown]);
    assert_eq!(datagram.only_frame(), None);
    assert_eq!(parse(b"{\"chat\":2}\n{\"t\":\"bye\"}\n").unwrap().only_frame(), Some(Frame::Bye));
}

#[test]
fn only_a_complete_last_line_is_a_tag() {
    let digits = "0123456789abcdef".repeat(2);
    let body = |rest: &str| {
        let bytes = format!("{{\"chat\":2}}\n{rest}");
        let datagram = parse(bytes.as_bytes()).unwrap();
        (String::from_utf8(datagram.body.to_vec()).unwrap(), datagram.tag.is_some())
    };
    assert_eq!(body(&format!("#{digits}\n")), (String::new(), true));
    assert_eq!(body(&format!("x\n#{digits}\n")), ("x\n".to_owned(), true));
    let shorter = &digits[1..];
    for rest in [
        format!("#{digits}"),
        format!("#{shorter}\n"),
        format!("{digits}0\n"),
        format!("#{shorter}A\n"),
        format!("#{shorter} \n"),
        format!("#{digits}\nx\n"),
        format!("#{digits}\n\n"),
    ] {
        assert_eq!(body(&rest), (rest.clone(), false));
    }
}

proptest! {
    #[test]
    fn any_text_is_split_into_fitting_lines_and_reassembled(text in "\\PC{0,900}|[\\x00-\\x1f\"\\\\é🎈]{0,900}") {
        let id = MessageId { incarnation: Incarnation(1), number: 2 };
        let lines = Frame::Msg { id, at: 0, after: None, text: text.clone() }.lines();
        let mut together = String::new();
        for line in &lines {
            prop_assert!(line.len() < MAX_FRAME);
            match parse(&emit(&Header::new(Incarnation(1), None), [line.as_str()])).unwrap().only_frame() {
                Some(Frame::Part { text } | Frame::Msg { text, .. }) => together.push_str(&text),
                other => prop_assert!(false, "{other:?}"),
            }
        }
        prop_assert_eq!(together, text);
    }

    #[test]
    fn a_tag_is_separated_from_the_bytes_before_it(tag in any::<[u8; TAG]>(), body in "([a-z#{}]{0,40}\n){0,3}") {
        let mut bytes = emit(&Header::new(Incarnation(7), Some(Incarnation(8))), []);
        bytes.extend_from_slice(body.as_bytes());
        let signed = bytes.clone();
        append_tag(&mut bytes, tag);
        prop_assert_eq!(bytes.len(), signed.len() + TAG_LINE);
        let datagram = parse(&bytes).unwrap();
        prop_assert_eq!(datagram.tag, Some(tag));
        prop_assert_eq!(datagram.signed, signed.as_slice());
        prop_assert_eq!(datagram.body, body.as_bytes());
    }

    #[test]
    fn parsing_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..1300)) {
        if let Ok(datagram) = parse(&bytes) {
            let _ = datagram.frames();
        }
    }

    #[test]
    fn parsing_a_datagram_with_one_changed_byte_never_panics(at in 0usize..250, byte in any::<u8>()) {
        let head = Header { pn: Some(4), ack: vec![9, 2, 1, 3], ..Header::new(Incarnation(7), Some(Incarnation(8))) };
        let mut bytes = emit(&head, ["{\"t\":\"alive\",\"table\":3}"]);
        append_tag(&mut bytes, [0x5a; TAG]);
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        if let Ok(datagram) = parse(&bytes) {
            let _ = (datagram.frames(), datagram.only_frame());
            prop_assert!(bytes.starts_with(datagram.signed) && datagram.signed.ends_with(datagram.body));
        }
    }
}

#[test]
fn a_refusal_is_never_refused() {
    assert!(refuse_version(b"{\"chat\":3,\"me\":\"0123456789\"}\n").is_some());
    for refusal in ["{\"chat\":3,\"no\":\"version\"}\n", "{\"chat\":3,\"no\":null,\"padding\":\"0123456789\"}\n"] {
        assert_eq!(refuse_version(refusal.as_bytes()), None, "{refusal}");
    }
}
