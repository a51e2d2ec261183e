//! Tests of profiles: their values, their mistakes, and the translation of lines.

use super::*;
use crate::script::pattern::Captures;
use crate::script::vars::Vars;
use proptest::prelude::*;

fn read(text: &str) -> Result<Profile, LoadError> {
    Profile::read(Path::new("class.toml"), |_| Ok(text.as_bytes().to_vec()))
}

fn mistakes(text: &str) -> Vec<String> {
    match read(text) {
        Err(LoadError::Mistakes(mistakes)) => {
            let with_help = |mistake: &Diagnostic| {
                let help = mistake.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
                format!("{mistake}{help}")
            };
            mistakes.iter().map(with_help).collect()
        }
        other => panic!("no mistakes: {other:?}"),
    }
}

fn translator(text: &str) -> Translator {
    read(text).unwrap_or_else(|refusal| panic!("{refusal}")).translator(MatchMode::Exact)
}

const CLASS: &str = r#"
prompt = "chat ({group})> "

[wording]
"[Message received by {who}.]" = ["Message received by {who}", "{who} has it, {*} ms"]
"{who}: {text}" = "{who} says {text}"
"{who}: {when} {text}" = "[{when}] {who} says {text}"
"[Exiting]" = "Good bye!"
"#;

#[test]
fn lines_in_other_wordings_are_translated() {
    let translator = translator(CLASS);
    for (shown, meant) in [
        ("Message received by y", "[Message received by y.]"),
        ("y has it, 12 ms", "[Message received by y.]"),
        ("chat (a)> chat (b)> Message received by y.z-1", "[Message received by y.z-1.]"),
        ("\u{1b}[1mchat (a)> Good bye!\u{1b}[0m\r", "[Exiting]"),
        ("y says he says hi", "y: he says hi"),
        // The wording with more fixed characters wins.
        ("[12:30] y says hi", "y: 12:30 hi"),
        // The sentences of the contract stay as they are.
        ("[Message received by y.]", "[Message received by y.]"),
        ("y: hi", "y: hi"),
        // These lines match no wording: the hole is no name, or the case differs.
        ("[Server says no]", "[Server says no]"),
        ("Message received by nobody at all", "Message received by nobody at all"),
        ("message received by y", "message received by y"),
        ("chat (a)>", ""),
        ("chat (a)>hi", "chat (a)>hi"),
        (">>> (g) y says hi", "y: hi"),
        ("", ""),
    ] {
        assert_eq!(translator.understand(shown), meant, "{shown}");
    }
    assert_eq!(Translator::default().understand(">>> a\r"), ">>> a\r");
}

#[test]
fn loose_matching_applies_to_wordings() {
    let translator = read(CLASS).unwrap().translator(MatchMode::Loose);
    assert_eq!(translator.understand("(message RECEIVED  by y)!"), "[Message received by y.]");
    assert_eq!(translator.understand("message received by some one"), "message received by some one");
}

#[test]
fn expectations_are_translated_into_the_wording_of_the_program() {
    let translator = translator(CLASS);
    for (sketch, words) in [
        ("[Message received by y.]", Some("Message received by y")),
        ("[Message received by .]", Some("Message received by ")),
        ("y: hi there", Some("y says hi there")),
        ("[Client table updated.]", None),
        ("{\"event\":\"done\"}", None),
    ] {
        assert_eq!(translator.translate_back(sketch).as_deref(), words, "{sketch}");
    }
}

#[test]
fn all_keys_of_a_profile_are_read() {
    let profile = read(
        "command = \"python3 'Chat App.py'\"\nready = \"Welcome{*}\"\ncapabilities = [\"groups\", \"receipts\"]\n\
         [environment]\nPYTHONPATH = \"/lib\"\n",
    )
    .unwrap();
    assert_eq!(profile.command, Some(vec!["python3".to_owned(), "Chat App.py".to_owned()]));
    assert_eq!(profile.ready.as_deref(), Some("Welcome{*}"));
    assert_eq!(profile.capabilities, Some(vec![Need::Groups, Need::Receipts]));
    assert_eq!(profile.environment, [("PYTHONPATH".to_owned(), "/lib".to_owned())]);
    assert_eq!(read("").unwrap().command, None);
}

#[test]
fn mistakes_are_reported_with_place_and_help() {
    for (text, expected) in [
        ("\ncomand = \"a\"", "class.toml:2:1: unknown field `comand`, expected one of `command`, `folder`"),
        ("command = 3", "class.toml:1:11: invalid type: integer `3`, expected a string"),
        ("command = \"it's\"", "class.toml:1:11: this is no command as a shell splits it"),
        ("command = \" \"", "class.toml:1:11: this is no command as a shell splits it"),
        ("folder = \"nowhere\"", "class.toml:1:10: this is no folder (it was looked for as `nowhere`"),
        ("ready = '{\"event\":1}'", "class.toml:1:9: people see no JSON"),
        ("ready = \"/(/\"", "class.toml:1:9: bad regular expression"),
        ("capabilities = [\"group\"]", "class.toml:1:17: `group` is no capability (capabilities = "),
        ("capabilities = [\"faults\"]", "class.toml:1:17: `faults` is no capability"),
        ("prompt = \"  \"", "class.toml:1:10: a pattern is missing"),
        ("prompt = \"{g}\"", "class.toml:1:10: any line would be this"),
        ("[environment]\nHOME = \"a\"", "class.toml:2:1: `HOME` is set for each actor by the runner"),
        ("[environment]\n\"A=B\" = \"a\"", "class.toml:2:1: `A=B` is no name of a variable"),
        ("[environment]\nA = \"\\u0000\"", "class.toml:2:5: a variable cannot hold the character 0"),
        ("[wording]\n\"hello\" = \"a\"", "class.toml:2:1: no program says this sentence (on the left"),
        (
            "[wording]\n\"[Exitting]\" = \"a\"",
            "class.toml:2:1: no program says this sentence (did you mean `[Exiting]`?",
        ),
        ("[wording]\n\"{*}: {t}\" = \"a\"", "class.toml:2:1: what differs in a sentence needs a name"),
        ("[wording]\n\"[Exiting]\" = 3", "class.toml:2:15: invalid type: integer `3`, expected a text or a list"),
        ("[wording]\n\"[Exiting]\" = []", "class.toml:2:15: no words stand here"),
        ("[wording]\n\"[Exiting]\" = \"{*}\"", "class.toml:2:15: any line would be this"),
        ("[wording]\n\"[Exiting]\" = \"a ${b}\"", "class.toml:2:15: a profile has no variables"),
        ("[wording]\n\"[Exiting]\" = \"a {b\"", "class.toml:2:15: this brace is neither"),
        ("[wording]\n\"{w}: {t}\" = \"a {t}\"", "class.toml:2:14: these words do not tell `{w}`"),
        (
            "[wording]\n\"{who}: {t}\" = \"{whom} a {t}\"",
            "class.toml:2:16: `{whom}` does not stand in `{who}: {t}` (did",
        ),
        ("[wording]\n\"[Exiting]\" = \"a\"\n\"[Exiting]\" = \"b\"", "class.toml:3:1: duplicate key"),
        ("[wording]\n\"[Exiting]\" = \"a\"\n\"[Invalid command]\" = \"a\"", "class.toml:3:23: `a` stands for another"),
        ("é = 1", "class.toml:1:1: "),
        ("[wording", "class.toml:1:9: unclosed table"),
    ] {
        let found = mistakes(text);
        assert!(found.iter().any(|mistake| mistake.starts_with(expected)), "{expected}\n{found:#?}");
    }
    let all = "capabilities = [\"a\", \"b\"]\n[wording]\n\"a\" = \"b\"\n";
    assert_eq!(mistakes(all).len(), 3, "as many as can be found at once");
    let refusal = Profile::read(Path::new("class.toml"), |_| Ok(b"ready = \"\xff\"".to_vec())).unwrap_err();
    assert!(refusal.to_string().contains("class.toml:1:10"), "{refusal}");
}

#[test]
fn limits_are_enforced() {
    let long = format!("# {}\n", "a".repeat(Profile::MAX_BYTES - 3));
    assert!(read(&long).is_ok());
    assert_eq!(mistakes(&(long + "#")), ["class.toml:1:1: a profile has at most 64 KiB"]);
    let endless = format!("[wording]\n\"[Exiting]\" = \"a{}\"", "{*}".repeat(20_000));
    assert_eq!(mistakes(&endless), ["class.toml:2:15: these words are too long to look for"]);
    let words = |count: usize| (0..count).map(|n| format!("\"bye {n}\",")).collect::<String>();
    let text = |count| format!("[wording]\n\"[Exiting]\" = [{}]\n", words(count));
    assert_eq!(read(&text(Profile::MAX_WORDINGS)).unwrap().wordings.len(), Profile::MAX_WORDINGS);
    assert_eq!(mistakes(&text(Profile::MAX_WORDINGS + 1)), ["class.toml:2:15: a profile has at most 256 wordings"]);
}

/// The captures of a pattern in a line.
fn taken(pattern: &str, line: &str) -> Option<Captures> {
    Pattern::parse(pattern).unwrap().fill(&Vars::default(), MatchMode::Exact).unwrap().line(line)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_bytes_give_a_profile_or_mistakes_that_render(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(refusal) = Profile::read(Path::new("a"), |_| Ok(bytes)) {
            prop_assert!(refusal.to_string().contains("a:"));
        }
    }

    #[test]
    fn nearly_valid_profiles_do_not_panic(
        sentence in "[\\[{a-z}:* ]{0,12}|\\{who\\}: \\{text\\}|\\[Exiting\\]",
        words in "[{}a-z*/ .\\[(]{0,12}|\\{who\\}.*\\{text\\}",
        line in "\\PC*",
    ) {
        let quote = |text: &str| toml_string(text);
        let text = format!("prompt = {}\n[wording]\n{} = {}\n", quote(&words), quote(&sentence), quote(&words));
        match read(&text) {
            Ok(profile) => for style in [MatchMode::Exact, MatchMode::Loose] {
                let translator = profile.translator(style);
                let _ = (translator.understand(&line).into_owned(), translator.translate_back(&line));
            },
            Err(refusal) => prop_assert!(refusal.to_string().contains("class.toml:")),
        }
    }

    /// A pattern captures the same from a translated line as from the sentence of the contract.
    #[test]
    fn a_pattern_captures_the_same_from_a_translated_line(who in "[a-z0-9][a-z0-9_.-]{0,5}", text in "[a-z]( ?[a-z:]){0,8}") {
        let translator = translator("[wording]\n\"{who}: {text}\" = \"From {who} comes <{text}>\"\n");
        let (shown, meant) = (format!("From {who} comes <{text}>"), format!("{who}: {text}"));
        for pattern in ["{a}: {b}", "{*}", "/^(?<a>[^:]*): (?<b>.*)$/", "x: {b}", &meant] {
            prop_assert_eq!(taken(pattern, &translator.understand(&shown)), taken(pattern, &meant));
        }
        prop_assert_eq!(translator.translate_back(&meant), Some(shown));
    }
}

/// A text as a TOML string.
fn toml_string(text: &str) -> String {
    serde_json::to_string(text).unwrap().replace('\u{7f}', "\\u007f")
}
