//! The jail engine: namespaces, seccomp, landlock, cgroups, and a warm interpreter forked for each call.
