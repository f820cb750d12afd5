//! What slots have of this host: processes and cgroups.

use std::fs;
use std::path::Path;

/// The processes below one, each before its own.
pub(crate) fn descendants(process: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let lists: Vec<String> = lists.collect();
    let children = lists.iter().flat_map(|list| list.split_whitespace());
    let children = children.filter_map(|child| child.parse().ok());
    children.flat_map(|child| [vec![child], descendants(child)].concat()).collect()
}

/// How many cgroups have such names.
pub(crate) fn cgroups(is_one: impl Fn(&str) -> bool) -> usize {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let places = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let places = places.filter_map(|line| line.split(' ').nth(4));
    places.map(|place| below(Path::new(place), &is_one)).sum()
}

fn below(folder: &Path, is_one: &impl Fn(&str) -> bool) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let count = |entry: fs::DirEntry| {
        usize::from(is_one(&entry.file_name().to_string_lossy())) + below(&entry.path(), is_one)
    };
    folders.map(count).sum()
}
