//! Adopts orphaned processes of external programs and kills them when the run ends.
//!
//! This finds processes that left both their process group and their environment. [`Reaper`] cannot find those.
//!
//! [`Reaper`]: crate::runner::backend::process::reaper::Reaper

use nix::sys::signal::{Signal as Posix, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};

use crate::runner::backend::process::procfs;

/// On Linux, orphaned descendants become children of this process until this is dropped. Other systems leave them
/// alone. Dropping it kills all children of this process, so there must be none that matter.
#[derive(Debug)]
pub struct Subreaper(());

impl Subreaper {
    /// Makes this process the subreaper of its descendants.
    #[must_use]
    pub fn register() -> Self {
        set_subreaper(true);
        Self(())
    }
}

impl Drop for Subreaper {
    fn drop(&mut self) {
        // Repeated: each killed process hands its own children to this one.
        procfs::wait_until(|| {
            let children = procfs::children();
            for child in &children {
                let _ = kill(*child, Posix::SIGKILL);
                let _ = waitpid(*child, Some(WaitPidFlag::WNOHANG));
            }
            children.is_empty()
        });
        set_subreaper(false);
    }
}

#[cfg(target_os = "linux")]
fn set_subreaper(enabled: bool) {
    // A failure is ignored: the reaper still finds every process that kept its environment.
    let _ = nix::sys::prctl::set_child_subreaper(enabled);
}

#[cfg(not(target_os = "linux"))]
fn set_subreaper(_: bool) {}
