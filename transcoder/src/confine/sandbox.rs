//! What is wanted of a sandbox, and what holds.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    /// As much of it as the kernel offers.
    #[default]
    Auto,
    Off,
    /// A child that cannot be confined does not run.
    Required,
}

/// What of the sandbox holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confined {
    /// Landlock: which files it can open, and no network.
    pub files: bool,
    /// Seccomp: which system calls it can make.
    pub syscalls: bool,
    /// Why not, if it should.
    pub trouble: String,
}

impl Confined {
    pub(super) fn is_whole(&self) -> bool {
        self.files && self.syscalls
    }
}
