//! Did you mean: the nearest of some known words.

/// The longest word that is compared, in bytes.
const MAX_WORD: usize = 256;

/// The word of `known` nearest to `word` by Damerau-Levenshtein distance (optimal string alignment), if it
/// is near: at most a third of its letters differ, and at least one is allowed to.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_WORD {
        return None;
    }
    let near = known.into_iter().map(|candidate| (strsim::osa_distance(word, candidate), candidate));
    let (best, candidate) = near.min()?;
    (best <= (candidate.chars().count() / 3).max(1)).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["send", "send_all", "table"];
        assert_eq!(nearest("sned", known), Some("send"));
        assert_eq!(nearest("sendall", known), Some("send_all"));
        assert_eq!(nearest("frobnicate", known), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn very_long_words_are_not_compared() {
        let longest = "x".repeat(MAX_WORD);
        assert_eq!(nearest(&longest, [longest.as_str()]), Some(longest.as_str()));
        let longer = "x".repeat(MAX_WORD + 1);
        assert_eq!(nearest(&longer, [longer.as_str()]), None);
    }
}
