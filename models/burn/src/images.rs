//! From the bytes of an image file to the numbers that CLIP's tower for images reads.

use std::io::Cursor;

use headwater_models::Pixels;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use serde::Deserialize;
use serde_json::Value;

use crate::LoadError;
use crate::config::ClipConfig;
use crate::folder::{PREPROCESSING, parse};

mod resample;

/// Longest side of an image in pixels; a file of a few bytes can claim any size.
const LONGEST_SIDE: u32 = 8192;
/// Most pixels of an image: 128 MiB decoded at 4 bytes each.
const MOST_PIXELS: u64 = 32 << 20;
/// What decoding may allocate, in bytes.
const MOST_BYTES: u64 = 256 << 20;
/// Bicubic by its number in Pillow.
const BICUBIC: u64 = 3;

/// The steps of CLIP's preprocessing: the shortest edge to `shortest_edge` pixels, bicubic; the
/// centre, `size` wide and high; each channel scaled, less its mean, over its deviation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Preprocessing {
    shortest_edge: usize,
    size: usize,
    tokens: usize,
    rescale_factor: f32,
    mean: [f32; 3],
    deviation: [f32; 3],
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default = "yes")]
    do_resize: bool,
    #[serde(default = "yes")]
    do_center_crop: bool,
    #[serde(default = "yes")]
    do_rescale: bool,
    #[serde(default = "yes")]
    do_normalize: bool,
    size: Value,
    crop_size: Value,
    resample: Option<u64>,
    rescale_factor: Option<f32>,
    image_mean: [f32; 3],
    image_std: [f32; 3],
}

fn yes() -> bool {
    true
}

impl Preprocessing {
    /// # Errors
    /// [`LoadError`] naming a step that is missing or not supported.
    pub(crate) fn parse(bytes: &[u8], config: &ClipConfig) -> Result<Self, LoadError> {
        let raw: Raw = parse(PREPROCESSING, bytes)?;
        let unsupported = |field: &str, found: String, allowed: &str| {
            Err(LoadError::unsupported(PREPROCESSING, field, found, allowed))
        };
        for (field, done) in [
            ("do_resize", raw.do_resize),
            ("do_center_crop", raw.do_center_crop),
            ("do_rescale", raw.do_rescale),
            ("do_normalize", raw.do_normalize),
        ] {
            if !done {
                return unsupported(field, "false".to_owned(), "true");
            }
        }
        if let Some(other) = raw.resample.filter(|number| *number != BICUBIC) {
            return unsupported("resample", other.to_string(), "3, bicubic");
        }
        let crop = side(&raw.crop_size, &["height", "width"]);
        if crop != Some(config.image_size) {
            let allowed = format!("{}, the model's image_size", config.image_size);
            return unsupported("crop_size", raw.crop_size.to_string(), &allowed);
        }
        let shortest_edge = match side(&raw.size, &["shortest_edge"]) {
            Some(edge) if (config.image_size..=LONGEST_SIDE as usize).contains(&edge) => edge,
            _ => {
                let allowed = format!("a shortest_edge of {} to {LONGEST_SIDE}", config.image_size);
                return unsupported("size", raw.size.to_string(), &allowed);
            }
        };
        if raw.image_std.iter().any(|deviation| deviation.is_nan() || *deviation <= 0.0) {
            let reason = "must be above 0 for every channel";
            return Err(LoadError::malformed(PREPROCESSING, "image_std", reason));
        }
        Ok(Preprocessing {
            shortest_edge,
            size: config.image_size,
            tokens: config.image_tokens(),
            rescale_factor: raw.rescale_factor.unwrap_or(1.0 / 255.0),
            mean: raw.image_mean,
            deviation: raw.image_std,
        })
    }

    /// # Errors
    /// What is wrong with the bytes, and what is allowed.
    pub(crate) fn read(&self, bytes: &[u8]) -> Result<Pixels, String> {
        let image = on_white(decode(bytes)?);
        let (width, height) = (image.width() as usize, image.height() as usize);
        let edge = self.shortest_edge;
        // The longer side is cut down to a whole number, as the reference does.
        let (wide, high) = match width <= height {
            true => (edge, edge * height / width),
            false => (edge * width / height, edge),
        };
        let source = resample::Source { width, height, values: image.as_raw() };
        let left = (wide - self.size) / 2;
        let top = (high - self.size) / 2;
        let columns = resample::Window { length: wide, start: left, count: self.size };
        let rows = resample::Window { length: high, start: top, count: self.size };
        let cut = resample::bicubic(&source, columns, rows);
        let values = (0..3)
            .flat_map(|channel| {
                let (mean, deviation) = (self.mean[channel], self.deviation[channel]);
                cut.iter()
                    .skip(channel)
                    .step_by(3)
                    .map(move |value| (f32::from(*value) * self.rescale_factor - mean) / deviation)
            })
            .collect();
        Ok(Pixels { tokens: self.tokens, height: self.size, width: self.size, values })
    }
}

/// What shows through stands on white, as the reference puts it, and with the same rounding.
fn on_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [red, green, blue, alpha] = image.get_pixel(x, y).0.map(u32::from);
        let blend = |value: u32| {
            let sum = (value * alpha + 255 * (255 - alpha) + 128) << 7;
            (((sum >> 8) + sum) >> 15) as u8
        };
        image::Rgb([blend(red), blend(green), blend(blue)])
    })
}

/// A number, or an object whose `fields` all hold the same number.
fn side(value: &Value, fields: &[&str]) -> Option<usize> {
    if let Some(number) = value.as_u64() {
        return usize::try_from(number).ok();
    }
    let mut sides = fields.iter().map(|field| value.get(field).and_then(Value::as_u64));
    let first = sides.next().flatten()?;
    sides.all(|side| side == Some(first)).then_some(usize::try_from(first).ok()?)
}

fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    let broken = |error: image::ImageError| format!("the image cannot be decoded: {error}");
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| format!("the image cannot be read: {error}"))?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err("the bytes are no image of a known kind; send PNG or JPEG".to_owned());
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 || u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!(
            "the image is {width} × {height} pixels; allowed are up to {MOST_PIXELS} pixels, no \
             side above {LONGEST_SIDE}"
        ));
    }
    DynamicImage::from_decoder(decoder).map_err(broken)
}

#[cfg(test)]
mod tests;
