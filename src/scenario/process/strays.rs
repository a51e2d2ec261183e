//! What has left its process group: it is found by the folder that it was given, and ended too.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal as Posix, kill};
use nix::unistd::Pid;

/// Dropping it ends every process in whose environment this folder is the beginning of `HOME`. Only systems with `/proc`
/// tell; elsewhere what leaves its group is left.
#[derive(Debug)]
pub(super) struct Strays {
    folder: PathBuf,
}

impl Strays {
    /// How often is looked for those that were begun meanwhile.
    const ROUNDS: usize = 16;

    pub(super) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Those that run.
    fn find(&self) -> Vec<Pid> {
        let mark = [b"HOME=", self.folder.as_os_str().as_bytes(), b"/"].concat();
        let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
        let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        // One that has ended and is not waited for has no environment any more.
        let ours = numbers.filter(|number: &i32| {
            let environment = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(&mark))
        });
        ours.map(Pid::from_raw).collect()
    }
}

impl Drop for Strays {
    fn drop(&mut self) {
        for _ in 0..Self::ROUNDS {
            let strays = self.find();
            if strays.is_empty() {
                return;
            }
            for stray in strays {
                let _ = kill(stray, Posix::SIGKILL);
            }
        }
    }
}
