//! Suggestions for mistyped words: finds the nearest known word.

/// Maximum length of a word that is compared, in bytes. The distance takes quadratic time.
const MAX_WORD: usize = 256;

/// The word of `known` with the smallest edit distance to `word` (optimal string alignment, a form of
/// Damerau-Levenshtein distance). `None` if the distance is more than a third of the known word's characters; a
/// distance of 1 is always accepted.
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
    fn near_words_are_suggested_and_distant_ones_are_not() {
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
