//! Waits for killed processes by polling `/proc`. The system reports the end of a process to its parent only.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::killpg;
use nix::unistd::Pid;

/// Time limit for killed processes to end. A process that is blocked in a device may never end.
const WAIT_LIMIT: Duration = Duration::from_secs(2);
/// The interval between two checks. Most killed processes end within microseconds.
const CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// Waits until no process of a group runs. The leader of the group was killed and reaped.
pub(crate) fn wait_for_group(group: Pid) {
    wait_until(|| {
        // Ignores zombies: they do no harm.
        killpg(group, None).is_err() || all_pids().is_some_and(|mut pids| !pids.any(|pid| runs_in(pid, group)))
    });
}

/// Waits until a condition holds, but at most [`WAIT_LIMIT`].
pub(crate) fn wait_until(mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + WAIT_LIMIT;
    while !holds() && Instant::now() < limit {
        thread::sleep(CHECK_INTERVAL);
    }
}

/// All processes of this host. `None` without `/proc`.
pub(crate) fn all_pids() -> Option<impl Iterator<Item = Pid>> {
    let entries = fs::read_dir("/proc").ok()?;
    Some(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Pid::from_raw)))
}

/// The children of this process, zombies included.
pub(crate) fn children() -> Vec<Pid> {
    let own_pid = Pid::this().to_string();
    let is_child = |pid: &Pid| stat(*pid).is_some_and(|[_, parent, _]| parent == own_pid);
    all_pids().map(|pids| pids.filter(is_child).collect()).unwrap_or_default()
}

/// Whether a process of this group runs. Zombies (`Z`) and dead processes (`X`) do not.
fn runs_in(process: Pid, group: Pid) -> bool {
    stat(process).is_some_and(|[state, _, of]| !matches!(state.as_str(), "Z" | "X") && of == group.to_string())
}

/// The state, the parent and the group of a process, from `/proc/PID/stat`: `PID (NAME) STATE PARENT GROUP ...`.
fn stat(process: Pid) -> Option<[String; 3]> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut rest = stat.rsplit(") ").next()?.split(' ').map(str::to_owned);
    Some([rest.next()?, rest.next()?, rest.next()?])
}
