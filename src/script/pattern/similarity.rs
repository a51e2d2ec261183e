//! Computes the likeness of two lines. Reports of failures show the line that is nearest to the pattern.

/// The most characters of a text that are compared.
const MAX_CHARS: usize = 256;

/// The likeness from 0, nothing in common, to 1, equal except for case and blanks. It is the Sørensen-Dice coefficient:
/// the share of the pairs of neighbouring characters that both texts have. A blank text has likeness 0 to any text.
pub(crate) fn likeness(a: &str, b: &str) -> f64 {
    let [a, b] = [a, b].map(|text| text.chars().take(MAX_CHARS).flat_map(char::to_lowercase).collect::<String>());
    if a.trim().is_empty() || b.trim().is_empty() { 0.0 } else { strsim::sorensen_dice(&a, &b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_line_is_more_similar_than_another_one() {
        let wanted = "[Message received by y.]";
        let near = likeness(wanted, "[Message recieved by y]");
        assert!(near > 0.7, "{near}");
        assert!(near > likeness(wanted, "[Messages received by the server and saved]"));
        assert!((likeness(wanted, &wanted.to_uppercase()) - 1.0).abs() < 1e-9);
        assert!(likeness(wanted, "zzz") < 1e-9 && likeness("", "") < 1e-9 && likeness(" ", " ") < 1e-9);
        assert!(likeness(&"a".repeat(100_000), &"a".repeat(MAX_CHARS)) > 0.99);
    }
}
