//! How much two lines look alike: for the nearest line of a failure's report.

use std::collections::BTreeMap;

/// The most characters of a text that are compared.
const MAX_CHARS: usize = 256;

/// From 0, nothing in common, to 1, equal but for case: the share of the pairs of neighbouring letters that both
/// have (Dice's coefficient).
pub(crate) fn likeness(a: &str, b: &str) -> f64 {
    let (a, b) = (pairs(a), pairs(b));
    let total = a.values().sum::<u32>() + b.values().sum::<u32>();
    if total == 0 {
        return 0.0;
    }
    let shared: u32 = a.iter().map(|(pair, n)| b.get(pair).map_or(0, |m| *n.min(m))).sum();
    f64::from(2 * shared) / f64::from(total)
}

/// How often each pair of neighbours occurs, the two ends included.
fn pairs(text: &str) -> BTreeMap<(char, char), u32> {
    let mut pairs = BTreeMap::new();
    let mut before = '\0';
    for c in text.chars().take(MAX_CHARS).flat_map(char::to_lowercase) {
        *pairs.entry((before, c)).or_default() += 1;
        before = c;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likest_line_is_the_one_that_was_meant() {
        let wanted = "[Message received by y.]";
        let near = likeness(wanted, "[Message recieved by y]");
        assert!(near > 0.7, "{near}");
        assert!(near > likeness(wanted, "[Messages received by the server and saved]"));
        assert!((likeness(wanted, &wanted.to_uppercase()) - 1.0).abs() < 1e-9);
        assert!(likeness(wanted, "zzz") < 1e-9 && likeness("", "") < 1e-9);
        assert!(likeness(&"a".repeat(100_000), &"a".repeat(MAX_CHARS)) > 0.99);
    }
}
