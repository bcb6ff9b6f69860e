//! What a process costs, as Linux counts it.

use std::fs::{DirEntry, read_dir, read_to_string};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

/// Processor time that a process and its children have used: user and system.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let below = children(pid)?
        .into_iter()
        .map(cpu)
        .sum::<anyhow::Result<Duration>>()?;
    Ok(cpu_alone(pid)? + below)
}

/// Processor time of a process without its children, to the nanosecond: `stat` samples a hundred times a second, and
/// a server that is woken five times a second falls through.
pub fn cpu_alone(pid: u32) -> anyhow::Result<Duration> {
    let tasks = read_dir(format!("/proc/{pid}/task"))?;
    let of = |task: std::io::Result<DirEntry>| schedstat(&task?.path());
    tasks.map(of).sum()
}

/// Its first number is nanoseconds on a processor, user and system.
fn schedstat(task: &Path) -> anyhow::Result<Duration> {
    let stat = read_to_string(task.join("schedstat"))?;
    let nanos = stat.split(' ').next().context("no schedstat")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

/// Resident memory of a process and its children, in bytes.
pub fn memory(pid: u32) -> anyhow::Result<u64> {
    let status = read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .context("no VmRSS")?;
    let children = children(pid)?;
    let below = children.into_iter().map(memory).sum::<anyhow::Result<u64>>()?;
    Ok(kib * 1024 + below)
}

fn children(pid: u32) -> anyhow::Result<Vec<u32>> {
    let list = read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(list
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect())
}
