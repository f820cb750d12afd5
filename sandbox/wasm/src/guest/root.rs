//! The read-only root: an image's files, read once into a tree that all guests share.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::guest::errno::Errno;

/// Files up to this size are held in memory; of larger ones an open handle is.
const HELD_BYTES_MAX: u64 = 1 << 20;

/// Where an image has the archive of the library, and the data of matplotlib.
pub(crate) const LIBRARY: &str = "usr/local/lib";
pub(crate) const MATPLOTLIB: &str = "usr/share/matplotlib";

/// The number of the root folder itself.
pub(crate) const TOP: u32 = 0;

/// What lies at one place of the root.
#[derive(Debug)]
pub(crate) enum Fixed {
    Folder(BTreeMap<String, u32>),
    Held(Vec<u8>),
    Open(File, u64),
    Link(String),
    /// `/dev/null`.
    Null,
}

#[derive(Debug)]
struct Place {
    what: Fixed,
    parent: u32,
}

/// The tree of an image's root. Nothing of it can be changed, and it opens no file by a name that
/// a guest gives.
#[derive(Debug)]
pub(crate) struct Root {
    places: Vec<Place>,
    /// The folders where a guest's own files lie.
    pub(crate) work: u32,
    pub(crate) temporary: u32,
    /// A folder that a package looks for inside the archive of the library, where no folder can
    /// lie: the path, and the folder's number.
    pub(crate) data: Option<(String, u32)>,
}

impl Root {
    /// Reads the tree below a folder.
    ///
    /// # Errors
    /// When something cannot be read, is neither a file, a folder nor a link, has a name that is
    /// no UTF-8, or when `work` or `tmp` is missing.
    pub(crate) fn load(folder: &Path) -> io::Result<Self> {
        let top = Place { what: Fixed::Folder(BTreeMap::new()), parent: TOP };
        let mut root = Self { places: vec![top], work: TOP, temporary: TOP, data: None };
        root.fill(TOP, folder)?;
        let missing = |name| io::Error::other(format!("the root has no folder {name}"));
        root.work = root.child(TOP, "work").ok_or_else(|| missing("work"))?;
        root.temporary = root.child(TOP, "tmp").ok_or_else(|| missing("tmp"))?;
        if let Some(devices) = root.child(TOP, "dev") {
            root.add(devices, "null".to_owned(), Fixed::Null);
        }
        root.data = root.data_folder();
        Ok(root)
    }

    fn data_folder(&self) -> Option<(String, u32)> {
        let down =
            |path: &str| path.split('/').try_fold(TOP, |folder, name| self.child(folder, name));
        let folder = down(MATPLOTLIB)?;
        let Fixed::Folder(names) = self.at(down(LIBRARY)?)? else { return None };
        let archive = names.keys().find(|name| name.ends_with(".zip"))?;
        Some((format!("/{LIBRARY}/{archive}/matplotlib/mpl-data"), folder))
    }

    fn add(&mut self, parent: u32, name: String, what: Fixed) -> u32 {
        let number = self.places.len() as u32;
        self.places.push(Place { what, parent });
        if let Fixed::Folder(names) = &mut self.places[parent as usize].what {
            names.insert(name, number);
        }
        number
    }

    fn fill(&mut self, number: u32, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            let told = |why: &str| io::Error::other(format!("{}: {why}", path.display()));
            let name = entry.file_name().into_string();
            let name = name.map_err(|_| told("its name is no UTF-8"))?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                let child = self.add(number, name, Fixed::Folder(BTreeMap::new()));
                self.fill(child, &path)?;
            } else if kind.is_file() {
                let file = File::open(&path)?;
                let length = file.metadata()?.len();
                let what = match length <= HELD_BYTES_MAX {
                    true => Fixed::Held(fs::read(&path)?),
                    false => Fixed::Open(file, length),
                };
                self.add(number, name, what);
            } else if kind.is_symlink() {
                let target = fs::read_link(&path)?.into_os_string().into_string();
                let target = target.map_err(|_| told("its target is no UTF-8"))?;
                self.add(number, name, Fixed::Link(target));
            } else {
                return Err(told("it is neither a file, a folder nor a symbolic link"));
            }
        }
        Ok(())
    }

    pub(crate) fn at(&self, number: u32) -> Option<&Fixed> {
        self.places.get(number as usize).map(|place| &place.what)
    }

    pub(crate) fn parent(&self, number: u32) -> u32 {
        self.places.get(number as usize).map_or(TOP, |place| place.parent)
    }

    pub(crate) fn child(&self, number: u32, name: &str) -> Option<u32> {
        match self.at(number)? {
            Fixed::Folder(names) => names.get(name).copied(),
            _ => None,
        }
    }

    pub(crate) fn length(&self, number: u32) -> u64 {
        match self.at(number) {
            Some(Fixed::Held(bytes)) => bytes.len() as u64,
            Some(Fixed::Open(_, length)) => *length,
            Some(Fixed::Link(target)) => target.len() as u64,
            _ => 0,
        }
    }

    /// Copies what lies at a place of a file; tells how many bytes that were.
    pub(crate) fn read(&self, number: u32, at: u64, into: &mut [u8]) -> Result<usize, Errno> {
        match self.at(number) {
            Some(Fixed::Held(bytes)) => {
                let from = bytes.get(usize::try_from(at).unwrap_or(usize::MAX)..);
                let from = from.unwrap_or_default();
                let count = from.len().min(into.len());
                into[..count].copy_from_slice(&from[..count]);
                Ok(count)
            }
            Some(Fixed::Open(file, length)) => {
                let count = length.saturating_sub(at).min(into.len() as u64) as usize;
                file.read_at(&mut into[..count], at).map_err(|_| Errno::Io)
            }
            Some(Fixed::Null) => Ok(0),
            Some(Fixed::Folder(_)) => Err(Errno::IsFolder),
            _ => Err(Errno::BadDescriptor),
        }
    }
}
