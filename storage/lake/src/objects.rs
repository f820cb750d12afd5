//! Objects below the prefixes that the operator allowed: listed in the order of their names, and
//! read part by part.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, ObjectStoreScheme, parse_url_opts,
};
use url::Url;

/// Most names that one listing keeps.
const PAGE: usize = 1_000;
/// Most prefixes whose next names are remembered, and most objects whose size is.
const REMEMBERED: usize = 64;
/// How names end whose bytes are no lines of text.
const PACKED: [&str; 6] = [".gz", ".zst", ".bz2", ".xz", ".zip", ".parquet"];

/// Why an object store gave nothing, by what the caller should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectProblem {
    /// Another try gives the same; the text says what is allowed.
    #[error("{0}")]
    Refused(String),
    /// Try again later.
    #[error("{0}")]
    Unavailable(String),
}

fn refused(text: impl Into<String>) -> ObjectProblem {
    ObjectProblem::Refused(text.into())
}

/// What kind of store an address names.
///
/// # Errors
/// [`ObjectProblem::Refused`] when it is none, or a store's own web address.
pub(crate) fn parse_root(root: &str) -> Result<(Url, ObjectStoreScheme), ObjectProblem> {
    let problem = |error: String| refused(format!("{root}: {error}"));
    let url = Url::parse(root).map_err(|error| problem(error.to_string()))?;
    let (scheme, _) = ObjectStoreScheme::parse(&url).map_err(|error| problem(error.to_string()))?;
    if url.scheme().starts_with("http") {
        let advice = "give the store as s3://bucket/prefix/, and where it is in AWS_ENDPOINT";
        return Err(problem(advice.to_owned()));
    }
    Ok((url, scheme))
}

/// A prefix below which objects may be read.
struct Root {
    url: Url,
    path: Path,
    store: Box<dyn ObjectStore>,
    /// Whether a listing comes in the order of names.
    is_sorted: bool,
}

/// The names below a prefix that come next.
struct Page {
    place: String,
    /// The name before the first one.
    after: Option<Path>,
    names: VecDeque<Path>,
}

/// Reads below some roots only.
pub struct Objects {
    roots: Vec<Root>,
    pages: Mutex<VecDeque<Page>>,
    /// Sizes of objects that were read, in bytes.
    sizes: Mutex<VecDeque<(String, u64)>>,
}

impl Objects {
    /// `roots` are addresses such as `s3://bucket/prefix/`; `options` are the settings of the
    /// stores by the names of their environment variables, such as `AWS_ENDPOINT`, and those
    /// that no store knows are passed over.
    ///
    /// # Errors
    /// [`ObjectProblem::Refused`] when an address names no store that this build has.
    pub fn open(roots: &[String], options: &[(String, String)]) -> Result<Objects, ObjectProblem> {
        let open = |root: &String| {
            let (url, scheme) = parse_root(root)?;
            let is_sorted = matches!(
                scheme,
                ObjectStoreScheme::AmazonS3 | ObjectStoreScheme::GoogleCloudStorage
            );
            let (store, path) = parse_url_opts(&url, options.iter().cloned())
                .map_err(|error| refused(format!("{root}: {error}")))?;
            Ok(Root { url, path, store, is_sorted })
        };
        let roots = roots.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Objects { roots, pages: Mutex::default(), sizes: Mutex::default() })
    }

    /// The object of a place that comes behind `after`, as an address; none behind the last. A
    /// place that ends in `/` is all that lies below it, any other is one object.
    ///
    /// # Errors
    /// See [`ObjectProblem`].
    pub async fn next(
        &self,
        place: &str,
        after: Option<&str>,
    ) -> Result<Option<String>, ObjectProblem> {
        if !place.ends_with('/') {
            return Ok(after.is_none().then(|| place.to_owned()));
        }
        let (root, prefix) = self.find(place)?;
        let after = match after {
            Some(address) => Some(self.find(address)?.1),
            None => None,
        };
        let next = match self.remembered(place, after.as_ref()) {
            Some(name) => Some(name),
            None => {
                let mut names = root.list(&prefix, after.as_ref()).await?;
                let first = names.pop_front();
                if let Some(first) = &first {
                    let page = Page { place: place.to_owned(), after: Some(first.clone()), names };
                    remember(&self.pages, page, |kept| kept.place == place);
                }
                first
            }
        };
        Ok(next.map(|name| root.address(&name)))
    }

    /// Up to `most` bytes of an object from `offset` on; none at its end.
    ///
    /// # Errors
    /// See [`ObjectProblem`].
    pub async fn read(
        &self,
        address: &str,
        offset: u64,
        most: usize,
    ) -> Result<Vec<u8>, ObjectProblem> {
        let (root, path) = self.find(address)?;
        if PACKED.iter().any(|end| address.ends_with(end)) {
            return Err(refused(
                "the object is packed; put it there as plain JSON lines, then make another job",
            ));
        }
        if offset > 0 && self.size(address).is_some_and(|size| offset >= size) {
            return Ok(Vec::new());
        }
        let range = GetRange::Bounded(offset..offset.saturating_add(most as u64));
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let got = async {
            let result = root.store.get_opts(&path, options).await?;
            let size = result.meta.size;
            result.bytes().await.map(|bytes| (size, bytes))
        };
        match got.await {
            Ok((size, bytes)) => {
                let known = (address.to_owned(), size);
                remember(&self.sizes, known, |(kept, _)| kept == address);
                Ok(bytes.to_vec())
            }
            // Stores answer with an error when the range begins at the end.
            Err(error) => match root.store.head(&path).await {
                Ok(meta) if offset >= meta.size => Ok(Vec::new()),
                _ => Err(problem_of(error)),
            },
        }
    }

    /// The root that an address lies below, and its path in that root's store.
    fn find(&self, address: &str) -> Result<(&Root, Path), ObjectProblem> {
        let url = Url::parse(address)
            .map_err(|error| refused(format!("the place is no address: {error}")))?;
        let (_, path) = ObjectStoreScheme::parse(&url)
            .map_err(|_| refused("the place is no address of an object store, s3://bucket/name"))?;
        let holds = |root: &&Root| {
            let same = (root.url.scheme(), root.url.host_str()) == (url.scheme(), url.host_str());
            same && root.url.port() == url.port() && path.prefix_match(&root.path).is_some()
        };
        match self.roots.iter().find(holds) {
            Some(root) => Ok((root, path)),
            None => Err(refused("the place lies below none of the node's ingest.stores")),
        }
    }

    /// The name behind `after`, from a page that was listed for an earlier one.
    fn remembered(&self, place: &str, after: Option<&Path>) -> Option<Path> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let page = pages.iter_mut().find(|page| page.place == place)?;
        if page.after.as_ref() != after {
            return None;
        }
        let name = page.names.pop_front()?;
        page.after = Some(name.clone());
        Some(name)
    }

    fn size(&self, address: &str) -> Option<u64> {
        let sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.iter().find(|(kept, _)| kept == address).map(|(_, size)| *size)
    }
}

/// Keeps this in place of what is the same, and forgets what was kept first when there is much.
fn remember<T>(kept: &Mutex<VecDeque<T>>, new: T, is_same: impl Fn(&T) -> bool) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.retain(|old| !is_same(old));
    if kept.len() == REMEMBERED {
        kept.pop_front();
    }
    kept.push_back(new);
}

impl Root {
    /// The first names below a prefix, in their order. An empty object has nothing to read, and
    /// is what some stores keep for a folder.
    async fn list(
        &self,
        prefix: &Path,
        after: Option<&Path>,
    ) -> Result<VecDeque<Path>, ObjectProblem> {
        let mut listing = match after {
            Some(after) => self.store.list_with_offset(Some(prefix), after),
            None => self.store.list(Some(prefix)),
        };
        let mut names = BTreeSet::new();
        while let Some(meta) = listing.try_next().await.map_err(problem_of)? {
            if meta.size == 0 || meta.location == *prefix {
                continue;
            }
            names.insert(meta.location);
            if names.len() > PAGE {
                names.pop_last();
            }
            if self.is_sorted && names.len() == PAGE {
                break;
            }
        }
        Ok(names.into_iter().collect())
    }

    fn address(&self, name: &Path) -> String {
        let mut url = self.url.clone();
        // What is written for a byte elsewhere is a part of the name here.
        url.set_path(&format!("/{}", name.as_ref().replace('%', "%25")));
        url.into()
    }
}

/// Whether another try may help.
fn problem_of(error: object_store::Error) -> ObjectProblem {
    use object_store::Error;
    match error {
        Error::NotFound { .. } => refused(
            "there is no such object; put it there, or end the place with / to read all objects \
             below it, then make another job",
        ),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => refused(
            "the store does not let the node read this; grant its credentials the right to list \
             and read, then make another job",
        ),
        Error::InvalidPath { .. } => refused("the place holds a name that the store cannot have"),
        Error::NotSupported { .. } | Error::NotImplemented { .. } => {
            refused("the store can not be listed; name each object by itself")
        }
        other => ObjectProblem::Unavailable(other.to_string()),
    }
}
