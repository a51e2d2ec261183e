//! Finds processes that left their process group, by the folder in their environment, and kills them.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal as Posix, kill};
use nix::unistd::Pid;

use crate::runner::backend::process::procfs;

/// Dropping it kills every process whose `HOME` is inside this folder. It needs `/proc`: on systems without it, escaped
/// processes keep running.
#[derive(Debug)]
pub(crate) struct Reaper {
    folder: PathBuf,
}

impl Reaper {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// All running processes whose `HOME` is inside the folder.
    fn find(&self) -> Vec<Pid> {
        let prefix = [b"HOME=", self.folder.as_os_str().as_bytes(), b"/"].concat();
        let Some(pids) = procfs::all_pids() else { return Vec::new() };
        // The environment of a zombie is empty, so zombies do not match.
        let matching = pids.filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(&prefix))
        });
        matching.collect()
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        // Repeated, because a process may start another one before it is killed.
        procfs::wait_until(|| {
            let escaped = self.find();
            for process in &escaped {
                let _ = kill(*process, Posix::SIGKILL);
            }
            escaped.is_empty()
        });
    }
}
