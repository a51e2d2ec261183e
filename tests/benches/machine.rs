//! Reads this machine: its processors and kernel, and the memory and CPU time of processes.

use std::fs;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::unistd::Pid;

/// Files that the bench needs besides the sockets of its clients.
const OTHER_FILES: u64 = 200;

/// The unit of `/proc/stat`: `USER_HZ`, which is 100 on all common architectures.
const TICKS_PER_SECOND: f64 = 100.0;

/// One line about the machine: processor, number of processors, kernel.
pub fn description() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {} CPUs, kernel {}", cpus(), kernel.trim())
}

/// The number of processors that this process may use.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Allows as many open files as the system permits. Returns the number of sockets that clients can use.
pub fn raise_file_limit() -> usize {
    let hard = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(_, hard)| hard);
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    usize::try_from(hard.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX)
}

/// Calls `start` with the calling thread on one processor, which threads and processes inherit. Has no effect if the
/// machine lacks this processor.
pub fn on_cpu<T>(cpu: usize, start: impl FnOnce() -> T) -> T {
    let this_thread = Pid::from_raw(0);
    let before = sched_getaffinity(this_thread);
    let mut only = CpuSet::new();
    let is_set = only.set(cpu).is_ok() && sched_setaffinity(this_thread, &only).is_ok();
    let result = start();
    if let (true, Ok(before)) = (is_set, before) {
        let _ = sched_setaffinity(this_thread, &before);
    }
    result
}

/// A number of `/proc/PID/status` in KiB, such as `VmRSS` or `VmHWM`.
pub fn memory_kib(pid: Pid, key: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(f64::NAN)
}

/// The CPU time of all threads of a process.
pub fn cpu_time(pid: Pid) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    // The first number is the time on a processor in nanoseconds.
    let nanos = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// The CPU time of this process, or of its children that have ended.
fn used(who: UsageWho) -> f64 {
    let Ok(usage) = getrusage(who) else { return 0.0 };
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// The CPU time that all processes of the machine have used, in seconds.
fn used_by_all() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user, nice, system, then idle and iowait, then irq and softirq.
    [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum::<f64>() / TICKS_PER_SECOND
}

/// Measures a time span and the share of the machine's CPU time that the bench and other programs used in it.
pub struct Stopwatch {
    begin: Instant,
    own: f64,
    children: f64,
    all: f64,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self {
            begin: Instant::now(),
            own: used(UsageWho::RUSAGE_SELF),
            children: used(UsageWho::RUSAGE_CHILDREN),
            all: used_by_all(),
        }
    }

    /// The share of the bench process since the start, from 0 to 1.
    pub fn own_share(&self) -> f64 {
        (used(UsageWho::RUSAGE_SELF) - self.own) / self.capacity()
    }

    /// The share of programs that the bench did not start, from 0 to 1. Call it when all children have ended.
    pub fn others_share(&self) -> f64 {
        let own = used(UsageWho::RUSAGE_SELF) - self.own + used(UsageWho::RUSAGE_CHILDREN) - self.children;
        ((used_by_all() - self.all - own) / self.capacity()).max(0.0)
    }

    fn capacity(&self) -> f64 {
        self.begin.elapsed().as_secs_f64() * cpus() as f64
    }
}
