//! What runsc is told of a sandbox: the bundle's `config.json`.

use headwater_sandbox::{SlotSpec, Way};
use headwater_sandbox_agent::{GUEST, PROGRAM};
use serde_json::{Value, json};

/// How the agent begins: its standard input and output are the stream to the host. The interpreter
/// does not run `site` itself, which looks in places that no image has, a millisecond for each.
const BEGIN: &str = "
import site
site.setquit(), site.setcopyright(), site.sethelper()
site.addsitedir(site.getsitepackages()[0], set())
settings = from_json(sys.argv[1])
warm(settings['preload'])
hello()
Agent(settings).run()
";

/// What the agent needs to give a call away to another user and to clean up after it.
const CAPABILITIES: [&str; 7] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETUID",
];

/// The bundle's configuration, by the runtime specification of the Open Container Initiative.
pub(crate) fn config(spec: &SlotSpec) -> Value {
    let settings = json!({
        "session": spec.way == Way::Session,
        "egress": spec.way_out.is_some(),
        "preload": spec.image.preload,
    });
    let words = ["-I", "-S", "-B", "-X", "utf8", "-c"];
    let mut arguments = vec![json!(spec.image.python)];
    arguments.extend(words.map(|word| json!(word)));
    arguments.extend([json!(format!("{PROGRAM}{BEGIN}")), json!(settings.to_string())]);
    let kinds = ["pid", "network", "ipc", "uts", "mount"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": arguments,
            "env": ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/"],
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES,
                "effective": CAPABILITIES,
                "permitted": CAPABILITIES,
            },
            "noNewPrivileges": true,
        },
        "root": {"path": spec.image.root, "readonly": true},
        "hostname": "guest",
        "mounts": mounts(spec.limits.disk_bytes),
        "linux": {
            "namespaces": kinds.map(|kind| json!({"type": kind})),
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": refusals()},
        },
    })
}

/// What the guest's kernel gives without a capability and no guest needs: nodes of devices, which
/// reach that kernel's own devices only, and sockets that send echo requests.
fn refusals() -> Vec<Value> {
    // The kernel takes 32 bits of an argument; a guest may set the others.
    let is = |index: u32, mask: u32, value: u32| {
        json!({
            "index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ",
        })
    };
    let refuse = |call: &str, arguments: Vec<Value>| {
        json!({
            "names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM, "args": arguments,
        })
    };
    let devices = [libc::S_IFCHR, libc::S_IFBLK].into_iter().flat_map(|kind| {
        let rows = [("mknod", 1), ("mknodat", 2)];
        rows.map(|(call, index)| refuse(call, vec![is(index, libc::S_IFMT, kind)]))
    });
    let echoes = [(libc::AF_INET, libc::IPPROTO_ICMP), (libc::AF_INET6, libc::IPPROTO_ICMPV6)];
    let echoes = echoes.map(|(family, protocol)| {
        let rows = [(0, family), (2, protocol)];
        let rows = rows.map(|(index, number)| is(index, u32::MAX, number.cast_unsigned()));
        refuse("socket", rows.to_vec())
    });
    devices.chain(echoes).collect()
}

fn mounts(disk_bytes: u64) -> Value {
    let (temporary, shared) = (disk_bytes / 4, disk_bytes / 16);
    let mut mounts = vec![json!({"destination": "/proc", "type": "proc", "source": "proc"})];
    let rows = [
        ("/work", "0755", disk_bytes - temporary - shared),
        ("/tmp", "0755", temporary),
        ("/dev/shm", "0755", shared),
    ];
    for (destination, mode, bytes) in rows {
        let options = [
            "nosuid".to_owned(),
            "nodev".to_owned(),
            format!("mode={mode}"),
            format!("uid={GUEST}"),
            format!("gid={GUEST}"),
            format!("size={bytes}"),
        ];
        mounts.push(json!({
            "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options,
        }));
    }
    Value::Array(mounts)
}
