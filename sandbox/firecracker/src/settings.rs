//! What an operator may choose.

use std::path::PathBuf;

/// Settings of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The program `firecracker`, from the same release as the jailer.
    pub firecracker: PathBuf,
    /// The program `jailer`.
    pub jailer: PathBuf,
    /// The guests' kernel: an uncompressed `vmlinux` on x86-64, an `Image` on aarch64. It has
    /// virtio-mmio, virtio-blk, virtio-vsock, ext4, devtmpfs mounted at the start, tmpfs and scripts
    /// built in, and better both memory and pids cgroups, `VMGENID` and `HW_RANDOM_VIRTIO`; the
    /// configurations in Firecracker's repository (`resources/guest_configs`) have all of it.
    pub kernel: PathBuf,
    /// The host's device for virtual machines.
    pub kvm: PathBuf,
    /// A folder of this engine alone. Services that share a host may share it.
    pub state_folder: PathBuf,
    /// File systems made of images, which stay from start to start.
    pub drives_folder: PathBuf,
    /// The first user and group id of machines; a machine has one of the 2^16 behind it.
    pub first_id: u32,
    /// The cgroup below which machines get theirs, relative to each hierarchy's root.
    pub cgroup_parent: String,
    /// A network namespace for machines, which have no network device in any case; the service's
    /// own where absent.
    pub netns: Option<PathBuf>,
    /// The longest that a guest may take to boot and to warm its interpreter, in milliseconds.
    pub boot_ms: u64,
    /// The longest that a snapshot may take to become a slot, in milliseconds.
    pub start_ms: u64,
    /// What a guest's kernel and agent may use beside the guest's memory, in bytes.
    pub overhead_bytes: u64,
    /// Reads of a guest from its drive, in bytes a second.
    pub drive_bytes_per_s: u64,
    /// Reads of a guest from its drive, in operations a second.
    pub drive_operations_per_s: u64,
}

impl Settings {
    /// The defaults, with a folder for the engine's state.
    #[must_use]
    pub fn new(state_folder: impl Into<PathBuf>) -> Self {
        let state_folder = state_folder.into();
        Self {
            firecracker: PathBuf::from("/usr/bin/firecracker"),
            jailer: PathBuf::from("/usr/bin/jailer"),
            kernel: PathBuf::from("/usr/lib/firecracker/vmlinux"),
            kvm: PathBuf::from("/dev/kvm"),
            drives_folder: state_folder.join("drives"),
            state_folder,
            first_id: 0x5000_0000,
            cgroup_parent: "headwater".to_owned(),
            netns: None,
            boot_ms: 30_000,
            start_ms: 10_000,
            overhead_bytes: 96 << 20,
            drive_bytes_per_s: 256 << 20,
            drive_operations_per_s: 20_000,
        }
    }
}
