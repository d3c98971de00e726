//! What someone who wrote an unknown word may have meant.

/// How alike two words must be to suggest one for the other, from 0 to 1.
const ALIKE: f64 = 0.8;

/// The nearest of `known`, or all of them: ``; did you mean `synchronous`?``.
pub(crate) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    match nearest(word, known.iter().copied()) {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None if known.is_empty() => "; none is known here".to_owned(),
        None => format!("; known are {}", known.join(", ")),
    }
}

/// The word of `known` that is most like `word`, if any is like it.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |candidate: &str| strsim::jaro_winkler(word, candidate);
    let alike = known.into_iter().filter(|candidate| likeness(candidate) >= ALIKE);
    alike.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_named_else_all() {
        assert_eq!(suggestion("pth", ["path", "readers"]), "; did you mean `path`?");
        assert_eq!(suggestion("colour", ["path", "readers"]), "; known are path, readers");
        assert_eq!(suggestion("colour", []), "; none is known here");
    }
}
