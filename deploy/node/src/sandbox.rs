//! Sandboxes as the settings choose them: engines that hold a guest here, images, and the way out.

pub(crate) mod command;
mod wasm;
mod ways;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use headwater_actors::gateway::AuditHandle;
use headwater_actors::runtime::Runtime;
use headwater_actors::tools::sandbox::{
    Engine, Image, ImageName, Images, SandboxHandle, SandboxMetrics, SandboxParts,
};
use headwater_sandbox_firecracker::FirecrackerEngine;
use headwater_sandbox_gvisor::GvisorEngine;
use headwater_sandbox_images as images;
use headwater_sandbox_jail::{Jail, JailSettings};
use headwater_secrets::SecretSource;
use prometheus_client::registry::Registry;

use crate::config::{FirecrackerSection, SandboxEngine, SandboxSection, Settings, data_dir};
use crate::failure::Failure;

/// The hidden command that starts one slot of the jail; see [`launch`].
const LAUNCHER: &str = "jail-launcher";

/// What sandboxes stand on.
pub(crate) struct Parts<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) secrets: Option<Arc<dyn SecretSource>>,
    pub(crate) audit: Option<AuditHandle>,
}

/// Starts a slot of the jail when that is what this process was started for. It must be asked
/// before there is any thread.
pub fn launch(arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.skip(1).peekable();
    let is_launcher = arguments.next_if(|first| first == LAUNCHER).is_some();
    is_launcher.then(|| headwater_sandbox_jail::launcher::main(arguments))
}

fn state(settings: &Settings) -> Result<PathBuf, Failure> {
    Ok(data_dir(settings)?.join("sandbox"))
}

/// Where images are.
///
/// # Errors
/// Kind `Settings` when there is no data folder.
pub(crate) fn images_folder(settings: &Settings) -> Result<PathBuf, Failure> {
    match &settings.sandbox.images {
        Some(folder) => Ok(folder.clone()),
        None => Ok(data_dir(settings)?.join("images")),
    }
}

/// Makes an engine; whether it holds a guest its probe tells.
///
/// # Errors
/// Kind `Settings` for a folder or a program that cannot be used.
pub(crate) fn engine(
    settings: &Settings,
    which: SandboxEngine,
) -> Result<Arc<dyn Engine>, Failure> {
    let folder = state(settings)?;
    Ok(match which {
        SandboxEngine::Jail => {
            let own = std::env::current_exe()
                .map_err(|error| Failure::broken(format!("this program's path: {error}")))?;
            let launcher = vec![own.into_os_string(), LAUNCHER.into()];
            let jail = Jail::new(JailSettings::new(launcher, folder.join("jail")));
            Arc::new(jail.map_err(|error| Failure::settings(format!("sandbox: {error}")))?)
        }
        SandboxEngine::Gvisor => {
            let mut own = headwater_sandbox_gvisor::Settings::new(folder.join("gvisor"));
            own.runsc.clone_from(&settings.sandbox.runsc);
            let engine = GvisorEngine::new(own);
            Arc::new(engine.map_err(|error| Failure::settings(format!("sandbox: {error}")))?)
        }
        SandboxEngine::Firecracker => {
            let own = firecracker(&settings.sandbox.firecracker, folder.join("firecracker"));
            let engine = FirecrackerEngine::new(own);
            Arc::new(engine.map_err(|error| Failure::settings(format!("sandbox: {error}")))?)
        }
        SandboxEngine::Wasm => wasm::engine(settings)?,
    })
}

fn firecracker(
    section: &FirecrackerSection,
    folder: PathBuf,
) -> headwater_sandbox_firecracker::Settings {
    let FirecrackerSection { firecracker, jailer, kernel, first_id, .. } = section.clone();
    let FirecrackerSection { cgroup_parent, netns, boot_ms, start_ms, .. } = section.clone();
    headwater_sandbox_firecracker::Settings {
        firecracker,
        jailer,
        kernel,
        first_id,
        cgroup_parent,
        netns,
        boot_ms,
        start_ms,
        ..headwater_sandbox_firecracker::Settings::new(folder)
    }
}

/// The image of this name.
///
/// # Errors
/// Why there is none, and how to make it.
pub(crate) fn image(folder: &std::path::Path, name: &ImageName) -> Result<Image, String> {
    images::open(folder, name).map(|(image, _)| image).map_err(|error| error.to_string())
}

/// The sandboxes of this node; none where the settings name no engine.
///
/// # Errors
/// Kind `Settings` for what cannot be used.
pub(crate) async fn start(
    settings: &Settings,
    parts: Parts<'_>,
    registry: &mut Registry,
) -> Result<Option<SandboxHandle>, Failure> {
    let section: &SandboxSection = &settings.sandbox;
    // On the page of every node, for alerts.
    let metrics = SandboxMetrics::register(registry);
    if section.engines.is_empty() {
        return Ok(None);
    }
    let Parts { runtime, secrets, audit } = parts;
    let folder = images_folder(settings)?;
    let name = ImageName::new(section.default_image())
        .map_err(|error| Failure::settings(format!("sandbox.image: {error}")))?;
    let default =
        image(&folder, &name).map_err(|why| Failure::settings(format!("sandbox: {why}")))?;
    let mut engines = Vec::new();
    for which in &section.engines {
        let engine = engine(settings, *which)?;
        if let Err(error) = engine.sweep().await {
            tracing::warn!(%error, "what earlier sandboxes left was not taken away");
        }
        match engine.probe(&default).await {
            Ok(probe) => {
                let told = engine.abilities();
                for warning in &probe.warnings {
                    tracing::warn!(
                        engine = told.name,
                        warning,
                        "a sandbox holds less than it could"
                    );
                }
                tracing::info!(engine = told.name, version = probe.version, "sandboxes run here");
                engines.push(engine);
            }
            Err(error) => tracing::error!(%error, "a sandbox engine is left out"),
        }
    }
    let ways = match section.egress {
        true => Some(ways::open(state(settings)?.join("egress"), secrets, audit)?),
        false => None,
    };
    let images: Images = Arc::new(move |name: &ImageName| image(&folder, name));
    let parts = SandboxParts {
        engines,
        images,
        ways,
        image: name,
        small: section.small.settings(),
        large: section.large.settings(),
        sessions_max: section.sessions_max,
        session_idle_ms: section.session_idle_ms,
    };
    let handle = SandboxHandle::new(runtime.clone(), parts, metrics);
    handle.warm();
    runtime.spawn(handle.clone().tidy());
    Ok(Some(handle))
}
