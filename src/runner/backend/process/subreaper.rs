//! What programs leave behind without their group and their environment: when its parent ends the system gives it to the
//! run, which ends it too.

use nix::sys::signal::{Signal as Posix, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};

use crate::runner::backend::process::procfs;

/// As long as this lives, processes whose parent ends become children of this process, where the system is Linux;
/// elsewhere they are left. Dropping it ends all children that this process has: there must be none that matter.
#[derive(Debug)]
pub struct Subreaper(());

impl Subreaper {
    /// Begins to take them in.
    #[must_use]
    pub fn take_in() -> Self {
        set(true);
        Self(())
    }
}

impl Drop for Subreaper {
    fn drop(&mut self) {
        // Again and again: the children of those that end come next.
        procfs::await_that(|| {
            let left = procfs::children();
            for one in &left {
                let _ = kill(*one, Posix::SIGKILL);
                let _ = waitpid(*one, Some(WaitPidFlag::WNOHANG));
            }
            left.is_empty()
        });
        set(false);
    }
}

#[cfg(target_os = "linux")]
fn set(wanted: bool) {
    // A system that refuses leaves them where they are: what has kept its environment is found all the same.
    let _ = nix::sys::prctl::set_child_subreaper(wanted);
}

#[cfg(not(target_os = "linux"))]
fn set(_: bool) {}
