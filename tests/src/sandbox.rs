//! The image that sandboxes of the tests run.

use std::io;
use std::path::PathBuf;

use headwater_sandbox::ImageName;
use headwater_sandbox_images::{Recipe, make, open};

/// Its name.
pub const IMAGE: &str = "suite";

/// The folder of images below a build's own folder for tests, with one that the sandboxes' own tests
/// use as well; made once, as that takes a while.
///
/// # Errors
/// When it cannot be made.
pub fn images(tests: &str) -> io::Result<PathBuf> {
    let folder = PathBuf::from(tests).join("images");
    let name = ImageName::new(IMAGE).map_err(io::Error::other)?;
    // Another test may make it at the same time.
    if open(&folder, &name).is_err()
        && let Err(error) = make(&folder, &Recipe::new(name.clone()))
        && open(&folder, &name).is_err()
    {
        return Err(io::Error::other(error));
    }
    Ok(folder)
}
