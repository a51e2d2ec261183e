//! Orders to the faults of the network while a program runs: a Unix datagram socket in the file system.
//!
//! One datagram is one [`FaultCommand`]. It is answered by `ok` when it is in force, or by the sentence that says what is
//! wrong with it, if whoever sent it has a path of its own to answer to.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use mio::net::UnixDatagram;
use mio::{Interest, Registry, Token, event};

use crate::netem::fault::FaultCommand;

/// The most bytes of one order.
pub const MAX_ORDER: usize = 4_096;

/// The most orders of one turn of the loop.
pub const BATCH: usize = 16;

/// The answer to an order that is in force.
pub const OBEYED: &str = "ok";

/// A path that a socket can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPath(PathBuf);

impl ControlPath {
    /// This path.
    ///
    /// # Errors
    /// One sentence, when it is empty or longer than the system takes for a socket: 107 bytes on Linux.
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

    /// As a path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

/// The socket that takes orders. Its path is removed when it is dropped.
#[derive(Debug)]
pub struct Control {
    socket: UnixDatagram,
    path: ControlPath,
    /// It was left before it said that nothing waits.
    readable: bool,
}

impl Control {
    /// Takes orders at this path, from this user alone. What an ended program left there is replaced.
    ///
    /// # Errors
    /// When somebody else listens there, something else stands there, or the system refuses.
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

    /// Something came.
    pub fn is_ready(&mut self) {
        self.readable = true;
    }

    /// Whether something may wait still.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.readable
    }

    /// Has the orders that came obeyed, at most [`BATCH`] of them, and answers. Never blocks.
    pub fn serve(&mut self, mut obey: impl FnMut(&FaultCommand) -> Result<(), String>) {
        let mut buffer = [0; MAX_ORDER + 1];
        for _ in 0..BATCH {
            if !self.readable {
                return;
            }
            match self.socket.recv_from(&mut buffer) {
                Ok((bytes, from)) => {
                    let obeyed = order(&buffer[..bytes]).and_then(|order| obey(&order));
                    let answer = obeyed.err().unwrap_or_else(|| OBEYED.to_owned());
                    if let Some(path) = from.as_pathname() {
                        // Whoever does not take an answer has none.
                        drop(self.socket.send_to(answer.as_bytes(), path));
                    }
                }
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                // There is nothing else that could be wrong with it and be of any use to somebody.
                Err(_) => self.readable = false,
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Somebody who removed it before us wished the same.
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

/// Whether a socket stands there that nobody listens to: its program was killed.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = |why: io::Error| why.kind() == ErrorKind::ConnectionRefused;
    is_socket && UnixDatagram::unbound().and_then(|socket| socket.connect(path)).is_err_and(refused)
}

/// The order in a datagram, which may end with the end of a line.
fn order(bytes: &[u8]) -> Result<FaultCommand, String> {
    if bytes.len() > MAX_ORDER {
        return Err(format!("An order has at most {MAX_ORDER} bytes."));
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
    fn orders_are_obeyed_and_answered_and_wrong_ones_are_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder, "control");
        let mut control = Control::bind(&path).unwrap();
        let asker = asker(&folder, &path);
        let orders = ["cut\n", "seed=7", "drop=x", "cut\ncut", "\u{fffd}", &"a".repeat(MAX_ORDER + 1)];
        orders.iter().for_each(|order| _ = asker.send(order.as_bytes()).unwrap());
        let mut obeyed = Vec::new();
        control.serve(|order| {
            obeyed.push(order.clone());
            if order.seed.is_some() { Err("No.".to_owned()) } else { Ok(()) }
        });
        assert!(!control.is_readable());
        let cut = FaultCommand { faults: vec![Fault::Cut], ..FaultCommand::default() };
        assert_eq!(obeyed, [cut, FaultCommand { seed: Some(7), ..FaultCommand::default() }]);
        assert_eq!((answer(&asker), answer(&asker)), ("ok".to_owned(), "No.".to_owned()));
        for wrong in ["drop=x", "cut\\ncut", "\u{fffd}"] {
            let sentence = answer(&asker);
            let end = format!("separated by commas, and \"{wrong}\" is not.");
            assert!(sentence.starts_with("A fault is loss=30%") && sentence.ends_with(&end), "{sentence}");
        }
        assert_eq!(answer(&asker), "An order has at most 4096 bytes.");
    }

    #[test]
    fn one_turn_takes_so_many_and_the_next_one_the_rest_even_from_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder, "control");
        let mut control = Control::bind(&path).unwrap();
        let nobody = Asker::unbound().unwrap();
        nobody.set_nonblocking(true).unwrap();
        let mut served = 0;
        for turn in [BATCH, 1] {
            // As many as the system lets wait, which may be fewer than a turn takes.
            let sent = (0..turn).filter(|_| nobody.send_to(b"heal", path.as_path()).is_ok()).count();
            control.is_ready();
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
    fn its_path_is_its_own_is_removed_and_is_taken_over_from_a_dead_program() {
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
    fn a_path_that_no_socket_can_have_is_refused_in_one_sentence() {
        let long = format!("/tmp/{}", "a".repeat(200));
        let sentence = "The path of a control socket can have about 100 bytes, and ";
        assert_eq!(ControlPath::new(&long), Err(format!("{sentence}{long} has 205; use a shorter one.")));
        assert_eq!(ControlPath::new(""), Err("The path of a control socket is empty.".to_owned()));
    }
}
