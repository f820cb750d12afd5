//! The lists that texts are made of; written for this crate.

pub(super) struct Lists {
    pub(super) given: Vec<&'static str>,
    pub(super) family: Vec<&'static str>,
    /// Beginnings and insides of made-up names, then their ends.
    pub(super) syllables: Vec<&'static str>,
    pub(super) endings: Vec<&'static str>,
    pub(super) cities: Vec<&'static str>,
    pub(super) countries: Vec<&'static str>,
    /// By language, in the order of [`super::address`].
    pub(super) streets: Vec<Vec<&'static str>>,
    pub(super) organisations: Vec<&'static str>,
    pub(super) words: Vec<&'static str>,
    /// Words of everyday English, then of other languages.
    pub(super) common: Vec<&'static str>,
    pub(super) foreign: Vec<Vec<&'static str>>,
    pub(super) jobs: Vec<&'static str>,
    pub(super) templates: Vec<&'static str>,
    pub(super) plain: Vec<&'static str>,
}

impl Lists {
    pub(super) fn new() -> Lists {
        let all = |file: &'static str| lines(file).flat_map(|line| line.split(',')).collect();
        let mut syllables = lines(include_str!("../../data/syllables.txt"));
        let mut next = || syllables.next().map(|line| line.split(',').collect());
        Lists {
            given: all(include_str!("../../data/given.txt")),
            family: all(include_str!("../../data/family.txt")),
            syllables: next().unwrap_or_default(),
            endings: next().unwrap_or_default(),
            cities: all(include_str!("../../data/cities.txt")),
            countries: all(include_str!("../../data/countries.txt")),
            streets: lines(include_str!("../../data/streets.txt"))
                .map(|line| line.split(',').collect())
                .collect(),
            organisations: all(include_str!("../../data/organisations.txt")),
            words: all(include_str!("../../data/words.txt")),
            common: all(include_str!("../../data/common.txt")),
            foreign: lines(include_str!("../../data/foreign.txt"))
                .map(|line| line.split(',').collect())
                .collect(),
            jobs: all(include_str!("../../data/jobs.txt")),
            templates: lines(include_str!("../../data/templates.txt")).collect(),
            plain: lines(include_str!("../../data/plain.txt")).collect(),
        }
    }
}

fn lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().filter(|line| !line.is_empty())
}
