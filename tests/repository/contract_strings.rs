//! Every sentence that a client can show is expected by some scenario, word for word.

use chat::runner::profile::SENTENCES;
use regex::Regex;

/// What the scenarios expect: the patterns of their `<` lines that forbid nothing.
fn expectations() -> Vec<String> {
    let line = Regex::new(r"^[\w,*.-]+<\S* (.+)$").unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("scenarios").unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        found.extend(text.lines().filter_map(|text| Some(line.captures(text)?[1].to_owned())));
    }
    found
}

#[test]
fn every_sentence_of_the_contract_is_expected_by_a_scenario() {
    let expected = expectations();
    let missing = SENTENCES.iter().filter(|sentence| {
        let words = regex::escape(sentence).replace("NAME", r"[\w.-]+").replace("GROUP", r"[\w.-]+");
        let words = words.replace("TIME", r"(?:\{\*\}|\{\w+\})").replace("TEXT", ".+");
        let pattern = Regex::new(&format!("^{words}$")).unwrap();
        !expected.iter().any(|line| pattern.is_match(line))
    });
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new(), "no scenario expects these");
}
