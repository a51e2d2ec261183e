//! The control socket: a Unix datagram socket that takes fault commands while a program runs.
//!
//! One datagram is one [`FaultCommand`]. The answer is `ok` when the command is in force, or one sentence about the
//! mistake. A sender without a path of its own gets no answer.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use mio::net::UnixDatagram;
use mio::{Interest, Registry, Token, event};

use crate::netem::fault::FaultCommand;

/// The most bytes of one command.
pub const MAX_COMMAND: usize = 4_096;

/// The most commands of one turn of the loop.
pub const BATCH: usize = 16;

/// The answer to a command that is in force.
pub const DONE: &str = "ok";

/// A path that is short enough for a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPath(PathBuf);

impl ControlPath {
    /// Checks a path.
    ///
    /// # Errors
    /// One sentence, when it is empty or longer than the system allows for a socket: 107 bytes on Linux.
    pub fn new(path: impl AsRef<OsStr>) -> Result<Self, String> {
        let path = Path::new(path.as_ref());
        if path.as_os_str().is_empty() {
            return Err("The path of a control socket is empty.".to_owned());
        }
        match SocketAddr::from_pathname(path) {
            Ok(_) => Ok(Self(path.to_owned())),
            Err(_) => {
                let bytes = path.as_os_str().len();
                Err(format!(
                    "The path of a control socket can have about 100 bytes, and {} has {bytes}; use a shorter one.",
                    path.display()
                ))
            }
        }
    }

    /// The path itself.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

/// The socket that takes commands. Its path is removed when it is dropped.
#[derive(Debug)]
pub struct Control {
    socket: UnixDatagram,
    path: ControlPath,
    /// Whether commands may wait: the last read did not block.
    readable: bool,
}

impl Control {
    /// Binds a socket at this path, for this user alone. It replaces the socket of a program that was killed.
    ///
    /// # Errors
    /// When another program listens there, the path is no socket, or the system refuses.
    pub fn bind(path: &ControlPath) -> io::Result<Self> {
        let socket = match UnixDatagram::bind(&path.0) {
            Err(why) if why.kind() == ErrorKind::AddrInUse && is_left_behind(&path.0) => {
                std::fs::remove_file(&path.0)?;
                UnixDatagram::bind(&path.0)?
            }
            bound => bound?,
        };
        let control = Self { socket, path: path.clone(), readable: true };
        std::fs::set_permissions(&path.0, std::fs::Permissions::from_mode(0o600))?;
        Ok(control)
    }

    /// Notes that the system reported the socket as readable.
    pub fn set_readable(&mut self) {
        self.readable = true;
    }

    /// Whether commands may wait.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.readable
    }

    /// Executes at most [`BATCH`] queued commands and answers each. Never blocks.
    pub fn serve(&mut self, mut execute: impl FnMut(&FaultCommand) -> Result<(), String>) {
        let mut buffer = [0; MAX_COMMAND + 1];
        for _ in 0..BATCH {
            if !self.readable {
                return;
            }
            match self.socket.recv_from(&mut buffer) {
                Ok((bytes, from)) => {
                    let done = parse(&buffer[..bytes]).and_then(|command| execute(&command));
                    let answer = done.err().unwrap_or_else(|| DONE.to_owned());
                    if let Some(path) = from.as_pathname() {
                        // An answer that cannot be sent is lost: the program does not wait for its sender.
                        drop(self.socket.send_to(answer.as_bytes(), path));
                    }
                }
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                // Usually the read would block. No other error can be handled here.
                Err(_) => self.readable = false,
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The path may be gone already.
        drop(std::fs::remove_file(&self.path.0));
    }
}

impl event::Source for Control {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

/// Whether the path is a socket without a listener: its program was killed.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = |why: io::Error| why.kind() == ErrorKind::ConnectionRefused;
    is_socket && UnixDatagram::unbound().and_then(|socket| socket.connect(path)).is_err_and(refused)
}

/// Parses the command in a datagram, which may end with a newline.
fn parse(bytes: &[u8]) -> Result<FaultCommand, String> {
    if bytes.len() > MAX_COMMAND {
        return Err(format!("An order has at most {MAX_COMMAND} bytes."));
    }
    String::from_utf8_lossy(bytes).trim_end_matches('\n').parse()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram as Asker;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::netem::fault::Fault;

    fn path(folder: &TempDir, name: &str) -> ControlPath {
        ControlPath::new(folder.path().join(name)).unwrap()
    }

    fn asker(folder: &TempDir, control: &ControlPath) -> Asker {
        let asker = Asker::bind(folder.path().join("asker")).unwrap();
        asker.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        asker.connect(control.as_path()).unwrap();
        asker
    }

    fn answer(asker: &Asker) -> String {
        let mut buffer = [0; 1024];
        let bytes = asker.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..bytes].to_vec()).unwrap()
    }

    #[test]
    fn every_command_is_answered_and_only_valid_ones_are_executed() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder, "control");
        let mut control = Control::bind(&path).unwrap();
        let asker = asker(&folder, &path);
        let commands = ["cut\n", "seed=7", "drop=x", "cut\ncut", "\u{fffd}", &"a".repeat(MAX_COMMAND + 1)];
        commands.iter().for_each(|command| _ = asker.send(command.as_bytes()).unwrap());
        let mut executed = Vec::new();
        control.serve(|command| {
            executed.push(command.clone());
            if command.seed.is_some() { Err("No.".to_owned()) } else { Ok(()) }
        });
        assert!(!control.is_readable());
        let cut = FaultCommand { faults: vec![Fault::Cut], ..FaultCommand::default() };
        assert_eq!(executed, [cut, FaultCommand { seed: Some(7), ..FaultCommand::default() }]);
        assert_eq!((answer(&asker), answer(&asker)), ("ok".to_owned(), "No.".to_owned()));
        for wrong in ["drop=x", "cut\\ncut", "\u{fffd}"] {
            let sentence = answer(&asker);
            let end = format!("separated by commas, and \"{wrong}\" is not.");
            assert!(sentence.starts_with("A fault is loss=30%") && sentence.ends_with(&end), "{sentence}");
        }
        assert_eq!(answer(&asker), "An order has at most 4096 bytes.");
    }

    #[test]
    fn a_turn_serves_one_batch_and_senders_without_a_path_are_served() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder, "control");
        let mut control = Control::bind(&path).unwrap();
        let nobody = Asker::unbound().unwrap();
        nobody.set_nonblocking(true).unwrap();
        let mut served = 0;
        for turn in [BATCH, 1] {
            // The system may queue fewer datagrams than one turn serves.
            let sent = (0..turn).filter(|_| nobody.send_to(b"heal", path.as_path()).is_ok()).count();
            control.set_readable();
            while control.is_readable() {
                let before = served;
                control.serve(|_| {
                    served += 1;
                    Ok(())
                });
                assert!(served - before <= BATCH);
            }
            assert!(sent > 0);
        }
        assert!(served > 1);
    }

    #[test]
    fn the_path_is_private_removed_on_drop_and_taken_over_from_a_dead_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder, "control");
        let control = Control::bind(&path).unwrap();
        let mode = std::fs::metadata(path.as_path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Control::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(control);
        assert!(!path.as_path().exists());
        drop(Asker::bind(path.as_path()).unwrap());
        assert!(path.as_path().exists(), "as a killed program leaves it");
        drop(Control::bind(&path).unwrap());
        std::fs::write(path.as_path(), "precious").unwrap();
        assert_eq!(Control::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(path.as_path()).unwrap(), b"precious");
    }

    #[test]
    fn a_path_unfit_for_a_socket_is_refused_with_one_sentence() {
        let long = format!("/tmp/{}", "a".repeat(200));
        let sentence = "The path of a control socket can have about 100 bytes, and ";
        assert_eq!(ControlPath::new(&long), Err(format!("{sentence}{long} has 205; use a shorter one.")));
        assert_eq!(ControlPath::new(""), Err("The path of a control socket is empty.".to_owned()));
    }
}
