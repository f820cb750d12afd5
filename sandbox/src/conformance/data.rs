//! The attackers' programs, as data.

use crate::isolation::Isolation;

const PRELUDE: &str = include_str!("prelude.py");
const TEXTS: [&str; 3] =
    [include_str!("files.py"), include_str!("processes.py"), include_str!("network.py")];

/// Calls for which a contained guest is killed. Where the guest has a kernel of its own they may
/// do there what they do.
const HOSTILE: &[&str] = &[
    "ptrace",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "keyctl",
    "add_key",
    "request_key",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "syslog",
    "open_by_handle_at",
    "name_to_handle_at",
    "process_vm_readv",
    "process_vm_writev",
    "kcmp",
    "fanotify_init",
    "settimeofday",
    "clock_settime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "open_tree",
    "move_mount",
    "fsopen",
    "mount_setattr",
    "pidfd_getfd",
    "quotactl",
];

/// What must be seen of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum See {
    /// It says that every step was refused, or was killed for one.
    Held,
    /// It was killed as one that asks for what no guest may.
    Killed,
    /// It ended in one of these ways: `exit`, `exit1`, `signal`, `wall`, `cpu`, `memory`, `output`.
    Ends(Vec<&'static str>),
}

/// One attacker's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    /// Python, with places of the host as `{canary}`, `{port}`, `{abstract}` and `{socket}`.
    pub program: String,
    pub see: See,
    /// Only for guests that share the host's kernel.
    pub only_contained: bool,
    /// A second call must see nothing of the first one.
    pub twice: bool,
    /// No word that a second call writes may be one of the first one's.
    pub differ: bool,
    /// Little time is enough to see that the program does not end by itself.
    pub brief: bool,
}

impl Case {
    #[must_use]
    pub fn applies_to(&self, isolation: Isolation) -> bool {
        !self.only_contained || isolation == Isolation::Contained
    }
}

/// All attackers' programs.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = TEXTS.into_iter().flat_map(sections).collect();
    cases.extend(HOSTILE.iter().map(|call| Case {
        name: format!("hostile_call_{call}"),
        program: format!("{PRELUDE}refused(\"{call}\", lambda: call(\"{call}\", 0, 0, 0, 0, 0))\n"),
        see: See::Killed,
        only_contained: true,
        twice: false,
        differ: false,
        brief: false,
    }));
    cases
}

/// A section begins with a line such as `#: name held contained`.
fn sections(text: &'static str) -> Vec<Case> {
    let parts = text.split("#: ").filter(|part| !part.trim().is_empty());
    let case = |part: &'static str| {
        let (head, body) = part.split_once('\n')?;
        let mut words = head.split_whitespace();
        let name = words.next()?.to_owned();
        let words: Vec<&str> = words.collect();
        let ends = words.iter().find_map(|word| word.strip_prefix("ends="));
        let see = match ends {
            Some(ends) => See::Ends(ends.split(',').collect()),
            None => See::Held,
        };
        let last = if see == See::Held { "print(\"held\", flush=True)\n" } else { "" };
        Some(Case {
            name,
            program: format!("{PRELUDE}{body}{last}"),
            see,
            only_contained: words.contains(&"contained"),
            twice: words.contains(&"twice"),
            differ: words.contains(&"differ"),
            brief: words.contains(&"brief"),
        })
    };
    parts.filter_map(case).collect()
}
