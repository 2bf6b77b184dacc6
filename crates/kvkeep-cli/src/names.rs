//! What to say when a name is none of those there are.

/// "no such policy; did you mean lru-2? there are lru, lru-2".
pub(crate) fn unknown<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let typed = name.to_ascii_lowercase();
    let similarity = |other: &&str| strsim::normalized_damerau_levenshtein(&typed, other);
    let nearest = names.iter().copied().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let hint = match nearest.filter(|nearest| similarity(nearest) > 0.5) {
        Some(nearest) => format!("did you mean {nearest}? "),
        None => String::new(),
    };
    format!("no such {what}; {hint}there are {}", names.join(", "))
}
