//! The wait for processes that were killed: nobody is told of the end of one that is not its own child.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::killpg;
use nix::unistd::Pid;

/// How long is waited for them: one that the system holds in a device may not end at all.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long until the next look: they are gone in microseconds as a rule.
const LOOK: Duration = Duration::from_millis(1);

/// Waits until nobody of a process group runs, whose first process was killed and waited for.
pub(crate) fn await_group(group: Pid) {
    await_that(|| {
        // Without a word of those that have ended and that nobody has waited for, which are of no harm.
        killpg(group, None).is_err() || all().is_some_and(|mut all| !all.any(|one| runs_in(one, group)))
    });
}

/// Waits until something holds, or for a while.
pub(crate) fn await_that(mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() && Instant::now() < limit {
        thread::sleep(LOOK);
    }
}

/// Every process of this host, where the system tells.
pub(crate) fn all() -> Option<impl Iterator<Item = Pid>> {
    let entries = fs::read_dir("/proc").ok()?;
    Some(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Pid::from_raw)))
}

/// Those whose parent is this very process, whether they run or wait to be waited for.
pub(crate) fn children() -> Vec<Pid> {
    let me = Pid::this().to_string();
    let mine = |one: &Pid| standing(*one).is_some_and(|[_, parent, _]| parent == me);
    all().map(|all| all.filter(mine).collect()).unwrap_or_default()
}

/// Whether a process is of this group and runs.
fn runs_in(process: Pid, group: Pid) -> bool {
    standing(process).is_some_and(|[state, _, of]| !matches!(state.as_str(), "Z" | "X") && of == group.to_string())
}

/// The state, the parent and the group of a process, from the system's `PID (NAME) STATE PARENT GROUP ...`.
fn standing(process: Pid) -> Option<[String; 3]> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut rest = stat.rsplit(") ").next()?.split(' ').map(str::to_owned);
    Some([rest.next()?, rest.next()?, rest.next()?])
}
