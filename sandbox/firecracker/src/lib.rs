//! The Firecracker engine: micro-VMs restored from a snapshot.
