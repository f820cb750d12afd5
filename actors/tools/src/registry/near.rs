//! Names that somebody may have meant.

use crate::name::ToolName;

const NEAR: usize = 3;

/// Up to three of the names, the nearest first: some letters apart, or one holding the other.
pub(super) fn names<'n>(
    wanted: &ToolName,
    all: impl Iterator<Item = &'n ToolName>,
) -> Vec<ToolName> {
    let wanted = wanted.as_str();
    // A short name is near to everything that is two letters long.
    let most = (wanted.len() / 3).clamp(1, 3);
    let mut found: Vec<(usize, &ToolName)> = all
        .filter_map(|name| {
            let apart = distance(wanted, name.as_str());
            let holds = wanted.len() >= 3
                && name.as_str().len() >= 3
                && (name.as_str().contains(wanted) || wanted.contains(name.as_str()));
            (apart <= most || holds).then_some((apart, name))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().take(NEAR).map(|(_, name)| name.clone()).collect()
}

/// Letters to change, add or take away, to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = line + 1;
        for (column, against) in other.bytes().enumerate() {
            let changed = corner + usize::from(letter != against);
            corner = row[column + 1];
            row[column + 1] = changed.min(corner + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}
