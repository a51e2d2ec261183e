//! Every sentence that a client can show is expected by some scenario, word for word.

use regex::Regex;

/// The sentences; NAME, GROUP, TIME and TEXT stand for what differs.
const SENTENCES: &[&str] = &[
    "[Welcome, You are registered.]",
    "[Client table updated.]",
    "NAME: TEXT",
    "[Message received by NAME.]",
    "[No ACK from NAME, message sent to server.]",
    "[Messages received by the server and saved]",
    "[Client NAME exists!!]",
    "[Client NAME does not exist.]",
    "[Mailbox of NAME is full, message not saved.]",
    "[You are Offline. Bye.]",
    "[You have messages]",
    "NAME: TIME TEXT",
    "[Channel_Message NAME: TIME TEXT]",
    "Group_Message NAME: TIME TEXT",
    "[Offline message sent at TIME received by NAME.]",
    "[Message received by Server.]",
    "[Channel_Message NAME: TEXT]",
    "[Server not responding.]",
    "[Server not responding]",
    "[Exiting]",
    "[The name NAME is already in use.]",
    "Error! Please input corresponding name.",
    "[You are offline. Type reg to come back.]",
    "[Invalid command]",
    "[Group GROUP created by Server.]",
    "[Group GROUP already exists.]",
    "[Available group chats:]",
    "[No available group chats]",
    "[Entered group GROUP successfully]",
    "[Group GROUP does not exist]",
    "Group_Message NAME: TEXT",
    "[Members in the group GROUP:]",
    "[Leave group chat GROUP]",
    "[You are no longer in the group GROUP.]",
    "[The server was restarted, registering again.]",
    "[Server listening on port TEXT]",
    "[Client NAME registered]",
    "[Client NAME is offline]",
    "[Client NAME created group GROUP successfully]",
    "[Client NAME creating group GROUP failed, group already exists]",
    "[Client NAME joined group GROUP]",
    "[Client NAME joining group GROUP failed, group does not exist]",
    "[Client NAME requested listing groups, current groups:]",
    "[Client NAME requested listing members of group GROUP:]",
    "[Client NAME sent group message: TEXT]",
    "[Client NAME not responsive, removed from group GROUP]",
    "[Client NAME left group GROUP]",
];

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
