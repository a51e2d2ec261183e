//! Did you mean: the nearest of some known words.

/// The word of `known` nearest to `word` by Damerau-Levenshtein distance (optimal string alignment), if it
/// is near: at most a third of its letters differ, and at least one is allowed to.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().map(|candidate| (distance(word, candidate), candidate));
    let (best, candidate) = near.min()?;
    (best <= (candidate.chars().count() / 3).max(1)).then_some(candidate)
}

/// How many letters were added, left out, exchanged or swapped. Words beyond 64 letters are infinitely far.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(65).collect(), b.chars().take(65).collect());
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
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
        assert_eq!(nearest(&"x".repeat(1000), known), None);
        assert_eq!(nearest("x", []), None);
    }
}
