//! Finds what a path leads to, among the root's files and the guest's own.

use crate::guest::errno::Errno;
use crate::guest::files::{Files, Own, TEMPORARY, WORK};
use crate::guest::root::{Fixed, Root, TOP};

/// The most symbolic links of one path.
const LINKS_MAX: usize = 40;

/// A file, folder or link, of the root or of the guest's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Fixed(u32),
    Own(u32),
}

/// What kind of thing a node is, by the number of preview 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stream = 0,
    Device = 2,
    Folder = 3,
    File = 4,
    Link = 7,
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The folder of the last name.
    pub(crate) folder: Node,
    /// The last name; empty where the path ends in `.`, `..` or `/`.
    pub(crate) name: String,
    /// What has that name.
    pub(crate) node: Option<Node>,
    /// The path ends with a slash.
    pub(crate) slash: bool,
}

/// Both trees, as one.
pub(crate) struct Trees<'a> {
    pub(crate) root: &'a Root,
    pub(crate) files: &'a mut Files,
}

impl Trees<'_> {
    pub(crate) fn kind(&self, node: Node) -> Result<Kind, Errno> {
        match node {
            Node::Fixed(number) => match self.root.at(number).ok_or(Errno::NoEntry)? {
                Fixed::Folder(_) => Ok(Kind::Folder),
                Fixed::Held(_) | Fixed::Open(..) => Ok(Kind::File),
                Fixed::Link(_) => Ok(Kind::Link),
                Fixed::Null => Ok(Kind::Device),
            },
            Node::Own(number) => match self.files.at(number).ok_or(Errno::NoEntry)?.what {
                Own::Folder(_) => Ok(Kind::Folder),
                Own::File(_) => Ok(Kind::File),
                Own::Link(_) => Ok(Kind::Link),
            },
        }
    }

    /// The node of a root's number: the guest's own folders lie over two of the root's.
    fn of_root(&self, number: u32) -> Node {
        match number {
            number if number == self.root.work => Node::Own(WORK),
            number if number == self.root.temporary => Node::Own(TEMPORARY),
            number => Node::Fixed(number),
        }
    }

    pub(crate) fn child(&self, folder: Node, name: &str) -> Option<Node> {
        match folder {
            Node::Fixed(number) => self.root.child(number, name).map(|found| self.of_root(found)),
            Node::Own(number) => self.files.child(number, name).map(Node::Own),
        }
    }

    pub(crate) fn parent(&self, folder: Node) -> Node {
        match folder {
            Node::Fixed(number) => Node::Fixed(self.root.parent(number)),
            Node::Own(WORK) => Node::Fixed(self.root.parent(self.root.work)),
            Node::Own(TEMPORARY) => Node::Fixed(self.root.parent(self.root.temporary)),
            Node::Own(number) => {
                self.files.at(number).map_or(Node::Fixed(TOP), |entry| Node::Own(entry.parent))
            }
        }
    }

    pub(crate) fn target(&self, node: Node) -> Option<&str> {
        match node {
            Node::Fixed(number) => match self.root.at(number)? {
                Fixed::Link(target) => Some(target),
                _ => None,
            },
            Node::Own(number) => match &self.files.at(number)?.what {
                Own::Link(target) => Some(target),
                _ => None,
            },
        }
    }

    /// Follows a path from a folder. Nothing leads above the top.
    ///
    /// # Errors
    /// When a part before the last is not there or no folder, or links lead in a circle.
    pub(crate) fn find(&self, from: Node, path: &str, follow: bool) -> Result<Found, Errno> {
        if path.is_empty() {
            return Err(Errno::NoEntry);
        }
        let rest = |path: &str| -> Vec<String> {
            path.split('/').rev().filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let mut place = if path.starts_with('/') { Node::Fixed(TOP) } else { from };
        let mut parts = rest(path);
        let mut slash = path.ends_with('/');
        let mut links = 0;
        loop {
            let Some(part) = parts.pop() else {
                let name = String::new();
                return Ok(Found { folder: place, name, node: Some(place), slash });
            };
            if self.kind(place)? != Kind::Folder {
                return Err(Errno::NotFolder);
            }
            match part.as_str() {
                "." => continue,
                ".." => {
                    place = self.parent(place);
                    continue;
                }
                _ => {}
            }
            let is_last = parts.is_empty();
            let Some(node) = self.child(place, &part) else {
                return match is_last {
                    true => Ok(Found { folder: place, name: part, node: None, slash }),
                    false => Err(Errno::NoEntry),
                };
            };
            match self.target(node) {
                Some(target) if !is_last || follow || slash => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::Loop);
                    }
                    if target.starts_with('/') {
                        place = Node::Fixed(TOP);
                    }
                    slash |= is_last && target.ends_with('/');
                    parts.extend(rest(target));
                }
                _ if is_last => {
                    return Ok(Found { folder: place, name: part, node: Some(node), slash });
                }
                _ => place = node,
            }
        }
    }
}
