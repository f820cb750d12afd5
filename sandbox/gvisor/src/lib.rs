//! The gVisor engine: runsc, with a warm interpreter inside the sandbox.
