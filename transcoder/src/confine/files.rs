//! Landlock: the child reads libraries and what they ask of the machine, writes nothing, executes nothing, and
//! reaches no network.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope, path_beneath_rules,
};

/// What plugins that are loaded late, and libraries that count processors, read. Not all of /etc: secrets live there.
const READABLE: [&str; 13] = [
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/sys/devices/system/cpu",
    "/dev/urandom",
    "/dev/null",
];

/// Lists of folders in which plugins and libraries are looked for, too.
const SEARCHED: [&str; 3] = ["GST_PLUGIN_PATH", "GST_PLUGIN_SYSTEM_PATH", "LD_LIBRARY_PATH"];

pub fn confine() -> Result<(), String> {
    match restrict() {
        Ok(RulesetStatus::NotEnforced) => Err("landlock: the kernel has none".into()),
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => Ok(()),
        Err(error) => Err(format!("landlock: {error}")),
    }
}

/// What this kernel does not know of is left out: each version knows more.
fn restrict() -> Result<RulesetStatus, RulesetError> {
    let (newest, read) = (ABI::V6, AccessFs::ReadFile | AccessFs::ReadDir);
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        // Neither signals nor abstract sockets reach a process outside.
        .scope(Scope::from_all(newest))?
        .create()?
        .add_rules(path_beneath_rules(readable(), read))?
        .restrict_self()?;
    Ok(status.ruleset)
}

fn readable() -> Vec<PathBuf> {
    let searched = SEARCHED.iter().filter_map(std::env::var_os);
    let searched: Vec<_> = searched
        .flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>())
        .filter(|folder| folder.is_absolute())
        .collect();
    READABLE.iter().map(PathBuf::from).chain(searched).collect()
}
