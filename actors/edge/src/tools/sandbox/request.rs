//! What clients ask of sandboxes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use headwater_actors::tools::sandbox::{GuestFile, GuestPath, ImageName, Isolation, SandboxAsk};
use headwater_actors::tools::{Room, Tier};
use serde::Deserialize;

use crate::error::ApiError;

/// Longest wait for a slot and a run together where the caller names none, in ms.
pub(super) const WITHIN_MS: u64 = 10_000;
const WITHIN_MS_MAX: u64 = 600_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRequest {
    path: String,
    /// The file's text, or its bytes in `base64`.
    text: Option<String>,
    base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunRequest {
    code: String,
    #[serde(default)]
    input: String,
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default)]
    environment: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    files: Vec<FileRequest>,
    /// Files to hand back.
    #[serde(default)]
    collect: Vec<String>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    pub(super) stream: bool,
    /// Of a run outside of any session.
    #[serde(flatten)]
    place: PlaceRequest,
}

#[derive(Deserialize, Default)]
pub(super) struct PlaceRequest {
    image: Option<String>,
    isolation: Option<String>,
    tier: Option<String>,
}

pub(super) fn path_of(field: &str, path: &str) -> Result<GuestPath, ApiError> {
    GuestPath::new(path)
        .map_err(|error| ApiError::invalid(field, "invalid_field", format!("{field}: {error}")))
}

pub(super) fn file_of(place: usize, file: FileRequest) -> Result<GuestFile, ApiError> {
    let path = path_of(&format!("files[{place}].path"), &file.path)?;
    let bytes = match (file.text, file.base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(encoded)) => STANDARD.decode(encoded).map_err(|_| {
            let at = format!("files[{place}].base64");
            ApiError::invalid(&at, "invalid_field", format!("{at}: is no base64"))
        })?,
        _ => {
            let at = format!("files[{place}]");
            let message = format!("{at}: must have text or base64, one of them");
            return Err(ApiError::invalid(&at, "invalid_field", message));
        }
    };
    Ok(GuestFile { path, bytes })
}

impl PlaceRequest {
    pub(super) fn room(&self) -> Result<Room, ApiError> {
        let isolation = match &self.isolation {
            None => Isolation::UserKernel,
            Some(word) => Isolation::of(word).ok_or_else(|| {
                let words = Isolation::ALL.map(Isolation::word).join(", ");
                let message = format!("isolation: must be one of {words}");
                ApiError::invalid("isolation", "invalid_field", message)
            })?,
        };
        let tier = match self.tier.as_deref() {
            None | Some("small") => Tier::Small,
            Some("large") => Tier::Large,
            Some(_) => {
                let message = "tier: must be small or large".to_owned();
                return Err(ApiError::invalid("tier", "invalid_field", message));
            }
        };
        Ok(Room { isolation, tier })
    }

    pub(super) fn image(&self) -> Result<Option<ImageName>, ApiError> {
        let named = self.image.as_deref().map(|name| {
            ImageName::new(name).map_err(|error| {
                ApiError::invalid("image", "invalid_field", format!("image: {error}"))
            })
        });
        named.transpose()
    }
}

impl RunRequest {
    pub(super) fn ask(self, team: &str) -> Result<SandboxAsk, ApiError> {
        let within_ms = self.timeout_ms.unwrap_or(WITHIN_MS);
        if !(1..=WITHIN_MS_MAX).contains(&within_ms) {
            let message = format!("timeout_ms: must be 1 to {WITHIN_MS_MAX}");
            return Err(ApiError::invalid("timeout_ms", "invalid_field", message));
        }
        let files = self.files.into_iter().enumerate();
        let collect = self.collect.iter().enumerate();
        let collect = collect.map(|(place, path)| path_of(&format!("collect[{place}]"), path));
        Ok(SandboxAsk {
            team: team.to_owned(),
            image: self.place.image()?,
            room: self.place.room()?,
            source: self.code,
            arguments: self.arguments,
            environment: self.environment.into_iter().collect(),
            input: self.input.into_bytes(),
            files: files.map(|(place, file)| file_of(place, file)).collect::<Result<_, _>>()?,
            collect: collect.collect::<Result<_, _>>()?,
            within_ms,
        })
    }
}
