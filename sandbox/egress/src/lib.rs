//! The way out of a sandbox: a forward proxy with an allow-list, and names that resolve only where it allows.
