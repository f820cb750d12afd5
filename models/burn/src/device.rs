//! Whether a CUDA device is there, asked of the driver itself before the runtime, which
//! would panic without one.

#[cfg(feature = "cuda")]
use headwater_models::EncodeError;

#[cfg(feature = "cuda")]
const DRIVER: &str = "libcuda.so.1";

/// # Errors
/// [`EncodeError::Device`] naming the driver library or the number of devices found.
#[cfg(feature = "cuda")]
pub(crate) fn probe(ordinal: usize) -> Result<(), EncodeError> {
    let count = device_count().map_err(EncodeError::Device)?;
    if ordinal < count {
        Ok(())
    } else {
        Err(EncodeError::Device(format!(
            "cuda:{ordinal} is not there: the driver knows {count} devices, from cuda:0; \
             choose one of these or \"cpu\""
        )))
    }
}

#[cfg(feature = "cuda")]
fn device_count() -> Result<usize, String> {
    use std::ffi::{c_int, c_uint};

    let missing = |error: libloading::Error| {
        format!("{DRIVER} does not load: {error}; install the NVIDIA driver or choose \"cpu\"")
    };
    // SAFETY: loading the driver runs its initialisers, which have no precondition; the
    // signatures of cuInit and cuDeviceGetCount are those of cuda.h and never changed.
    unsafe {
        let driver = libloading::Library::new(DRIVER).map_err(missing)?;
        let init: libloading::Symbol<'_, unsafe extern "C" fn(c_uint) -> c_int> =
            driver.get(b"cuInit\0").map_err(missing)?;
        let get_count: libloading::Symbol<'_, unsafe extern "C" fn(*mut c_int) -> c_int> =
            driver.get(b"cuDeviceGetCount\0").map_err(missing)?;
        let mut count = 0;
        match (init(0), get_count(&raw mut count)) {
            (0, 0) => Ok(usize::try_from(count).unwrap_or(0)),
            (init, get_count) => Err(format!(
                "the driver answered {init} to cuInit and {get_count} to cuDeviceGetCount"
            )),
        }
    }
}
