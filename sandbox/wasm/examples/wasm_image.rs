//! Makes an image and compiles it: `image <wheel> <folder of images> <name> [<preload>...]`.

use std::path::Path;
use std::time::Instant;

use headwater_sandbox::{Engine, ImageName};
use headwater_sandbox_wasm::{Settings, WasmEngine, make_image};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(source), Some(folder), Some(name)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("give a wheel or its folder, a folder of images, and a name".into());
    };
    let preload: Vec<String> = arguments.collect();
    let began = Instant::now();
    let (image, manifest) =
        make_image(source.as_ref(), Path::new(&folder), &ImageName::new(name)?, &preload)?;
    let packages = manifest.packages.len();
    println!(
        "{}: {} bytes, {packages} packages, {:?}",
        image.root.display(),
        manifest.bytes,
        began.elapsed()
    );
    let began = Instant::now();
    let engine = WasmEngine::new(Settings::default())?;
    engine.prepare(&image).await?;
    println!("compiled in {:?}", began.elapsed());
    println!("{:?}", engine.probe(&image).await?);
    Ok(())
}
