//! What has left its process group: it is found by the folder that it was given, and ended too.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal as Posix, kill};
use nix::unistd::Pid;

use crate::runner::backend::process::procfs;

/// Dropping it ends every process in whose environment this folder is the beginning of `HOME`. Only systems with `/proc`
/// tell; elsewhere what leaves its group is left.
#[derive(Debug)]
pub(crate) struct Reaper {
    folder: PathBuf,
}

impl Reaper {
    pub(crate) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Those that run.
    fn find(&self) -> Vec<Pid> {
        let mark = [b"HOME=", self.folder.as_os_str().as_bytes(), b"/"].concat();
        let Some(all) = procfs::all() else { return Vec::new() };
        // One that has ended and is not waited for has no environment any more.
        let ours = all.filter(|number| {
            let environment = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(&mark))
        });
        ours.collect()
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        // Again and again: some may be begun meanwhile.
        procfs::await_that(|| {
            let escaped = self.find();
            for process in &escaped {
                let _ = kill(*process, Posix::SIGKILL);
            }
            escaped.is_empty()
        });
    }
}
