//! Files that the host puts into the guest's working folder and takes out of it. No link that the
//! guest has made is followed.

use std::collections::BTreeMap;

use headwater_sandbox::{EngineError, FileEntry, GuestFile, GuestPath};

use crate::guest::errno::Errno;
use crate::guest::files::{Files, Own, TEMPORARY, WORK};
use crate::guest::pages::Pages;

fn wrong(path: &GuestPath, why: impl Into<String>) -> EngineError {
    EngineError::File { path: path.as_str().to_owned(), why: why.into() }
}

fn words(error: Errno) -> &'static str {
    match error {
        Errno::NoSpace => "there is no room for it; remove files, or choose a larger tier",
        Errno::FileTooLarge => "is larger than a file may be; send less, or choose a larger tier",
        Errno::NameTooLong => "a part of its path has more than 255 bytes",
        Errno::NotFolder => "a part of its path is no folder",
        Errno::IsFolder => "is a folder",
        Errno::NoEntry => "is not there",
        _ => "cannot be used",
    }
}

impl Files {
    /// Writes a file of the working folder; its folders are made.
    ///
    /// # Errors
    /// When there is no room, or something else has one of its names.
    pub(crate) fn put(&mut self, file: &GuestFile, now_ns: u64) -> Result<(), EngineError> {
        let told = |error: Errno| wrong(&file.path, words(error));
        let (folders, name) = match file.path.as_str().rsplit_once('/') {
            Some((folders, name)) => (Some(folders), name),
            None => (None, file.path.as_str()),
        };
        let mut folder = WORK;
        for part in folders.into_iter().flat_map(|folders| folders.split('/')) {
            folder = match self.child(folder, part) {
                Some(number) => {
                    self.names(number).map_err(told)?;
                    number
                }
                None => {
                    let what = Own::Folder(BTreeMap::new());
                    self.make(folder, part, what, now_ns).map_err(told)?
                }
            };
        }
        let number = match self.child(folder, name) {
            Some(number) => number,
            None => {
                let what = Own::File(Pages::default());
                self.make(folder, name, what, now_ns).map_err(told)?
            }
        };
        match self.at(number).map(|entry| &entry.what) {
            Some(Own::File(_)) => {}
            Some(Own::Folder(_)) => return Err(wrong(&file.path, "is a folder")),
            _ => return Err(wrong(&file.path, "is a symbolic link, which is not followed")),
        }
        self.set_length(number, 0, now_ns).map_err(told)?;
        let written = self.write(number, 0, &file.bytes, now_ns).map_err(told)?;
        match written == file.bytes.len() {
            true => Ok(()),
            false => Err(told(Errno::FileTooLarge)),
        }
    }

    fn found(&self, path: &GuestPath) -> Result<&Pages, EngineError> {
        let mut place = WORK;
        for part in path.as_str().split('/') {
            let names = self.names(place).map_err(|error| wrong(path, words(error)))?;
            let number = names.get(part).copied();
            place = number.ok_or_else(|| wrong(path, words(Errno::NoEntry)))?;
        }
        match self.at(place).map(|entry| &entry.what) {
            Some(Own::File(pages)) => Ok(pages),
            Some(Own::Folder(_)) => Err(wrong(path, words(Errno::IsFolder))),
            _ => Err(wrong(path, "is a symbolic link, which is not followed")),
        }
    }

    /// A file of the working folder, of at most so many bytes.
    ///
    /// # Errors
    /// When it is not there, is no file, or is larger.
    pub(crate) fn get(&self, path: &GuestPath, bytes_max: u64) -> Result<GuestFile, EngineError> {
        let pages = self.found(path)?;
        let length = pages.length();
        if length > bytes_max {
            let why = format!("has {length} bytes; at most {bytes_max} are allowed");
            return Err(wrong(path, why));
        }
        Ok(GuestFile { path: path.clone(), bytes: pages.to_vec() })
    }

    /// The files of these that are there, as long as all together have at most so many bytes.
    pub(crate) fn collect(&self, wanted: &[GuestPath], bytes_max: u64) -> Vec<GuestFile> {
        let mut left = bytes_max;
        let mut files = Vec::new();
        for path in wanted {
            if let Ok(file) = self.get(path, left) {
                left -= file.bytes.len() as u64;
                files.push(file);
            }
        }
        files
    }

    /// The first files and folders of the working folder, by their paths. What has a name that no
    /// path of a host's can have, and links, are left out.
    pub(crate) fn list(&self, entries_max: usize) -> Vec<FileEntry> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![(String::new(), WORK)];
        while let Some((prefix, folder)) = waiting.pop() {
            for (name, number) in self.names(folder).into_iter().flatten() {
                let Ok(path) = GuestPath::new(format!("{prefix}{name}")) else { continue };
                let (bytes, is_folder) = match self.at(*number).map(|entry| &entry.what) {
                    Some(Own::File(pages)) => (pages.length(), false),
                    Some(Own::Folder(_)) => (0, true),
                    _ => continue,
                };
                if is_folder {
                    waiting.push((format!("{}/", path.as_str()), *number));
                }
                found.insert(path.clone(), FileEntry { path, bytes, folder: is_folder });
            }
        }
        found.into_values().take(entries_max).collect()
    }

    /// Takes away what lies in `/tmp`.
    pub(crate) fn empty_temporary(&mut self, now_ns: u64) {
        let mut waiting = vec![TEMPORARY];
        let mut found = Vec::new();
        while let Some(folder) = waiting.pop() {
            for (name, number) in self.names(folder).into_iter().flatten() {
                found.push((folder, name.clone()));
                if self.names(*number).is_ok() {
                    waiting.push(*number);
                }
            }
        }
        // What lies in a folder was found after it.
        for (folder, name) in found.iter().rev() {
            let _ = self.unname(*folder, name, now_ns);
        }
    }
}
