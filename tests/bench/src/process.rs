//! What a process costs, as Linux counts it.

use std::fs::{DirEntry, read_dir, read_to_string};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

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

/// Memory of the kernel's own objects, in bytes: of sockets above all, both ends of those on one machine.
pub fn kernel_memory() -> anyhow::Result<u64> {
    let memory = read_to_string("/proc/meminfo")?;
    let line = memory.lines().find(|line| line.starts_with("Slab:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .context("no Slab")?;
    Ok(kib * 1024)
}

/// Lets this process, and those it starts, have as many descriptors as the hard limit allows; gives how many.
pub fn raise_descriptors() -> anyhow::Result<u64> {
    let limits = read_to_string("/proc/self/limits")?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let hard = line
        .and_then(|line| line.split_whitespace().nth(4))
        .context("no limit of open files")?;
    let pid = std::process::id().to_string();
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--nofile={hard}:{hard}")])
        .status()
        .context("cannot run prlimit")?;
    ensure!(set.success(), "the limit of open files cannot be raised");
    Ok(hard.parse().unwrap_or(u64::MAX))
}

/// Keeps all threads of this process on one processor.
pub fn pin(cpu: usize) -> anyhow::Result<()> {
    let pid = std::process::id().to_string();
    let set = Command::new("taskset")
        .args(["-a", "-c", "-p", &cpu.to_string(), &pid])
        .stdout(Stdio::null())
        .status()
        .context("cannot run taskset")?;
    ensure!(set.success(), "cannot stay on processor {cpu}");
    Ok(())
}

/// Those it has started, and that still run: each is listed under the thread that started it.
pub fn children(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut children = Vec::new();
    for task in read_dir(format!("/proc/{pid}/task"))? {
        let list = read_to_string(task?.path().join("children")).unwrap_or_default();
        children.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}
