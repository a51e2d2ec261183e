//! What a client and a server need alike before they start, and the words when they cannot have it.

use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::cli::NetworkFaults;
use crate::io::control::Control;
use crate::io::input::Wake;
use crate::io::sender::DatagramSender;
use crate::io::signals::SignalListener;
use crate::io::socket::Socket;
use crate::ui::printer;

/// How long a sentence on standard error may take before the program ends without it.
const COMPLAINT_LIMIT: Duration = Duration::from_secs(1);

/// Binds a port, 0 for a free one.
///
/// # Errors
/// One sentence about the port.
pub fn bind(port: u16) -> anyhow::Result<Socket> {
    Socket::bind(port).map_err(|why| match why.kind() {
        ErrorKind::AddrInUse => anyhow!("Port {port} is in use, choose another one, or 0 for a free one."),
        _ => anyhow!("Port {port} cannot be had: {why}."),
    })
}

/// The way out for datagrams, disturbed as it was asked for.
///
/// # Errors
/// One sentence about the path where orders are to be taken.
pub fn outgoing(trouble: &NetworkFaults) -> anyhow::Result<DatagramSender> {
    let control = match &trouble.control {
        None => None,
        Some(path) => Some(Control::bind(path).map_err(|why| match why.kind() {
            ErrorKind::AddrInUse => anyhow!("{} is there already, choose another path.", path.as_path().display()),
            _ => anyhow!("Orders cannot be taken at {}: {why}.", path.as_path().display()),
        })?),
    };
    Ok(DatagramSender::new(trouble.emulator.as_deref().cloned(), control))
}

/// 32 bytes of the system's randomness.
///
/// # Errors
/// When the system has none.
pub fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|why| anyhow!("{why}")).context("The system gives no random numbers")?;
    Ok(seed)
}

/// Signals that ask the program to end, as numbers.
pub struct Signals {
    /// Where they arrive.
    pub arrived: Receiver<i32>,
    /// Where others can put them in.
    pub sender: std::sync::mpsc::Sender<i32>,
    _stop: SignalListener,
}

impl Signals {
    /// Takes them over from the system.
    ///
    /// # Errors
    /// When the system refuses that.
    pub fn listen(wake: Wake) -> anyhow::Result<Self> {
        let (sender, arrived) = channel();
        let tell = sender.clone();
        let stop = SignalListener::listen(move |signal| {
            // Nobody takes it any more when the program is ending already.
            let _ = tell.send(signal);
            wake();
        });
        Ok(Self { arrived, sender, _stop: stop.context("Signals cannot be listened to")? })
    }
}

/// Complains, but does not wait for a standard error that is blocked.
pub fn complain_quickly(sentence: String) {
    let (done, wait) = channel();
    let spawned = std::thread::Builder::new().spawn(move || {
        printer::print_error(&sentence);
        // Nobody waits any more when it took too long.
        let _ = done.send(());
    });
    if spawned.is_ok() {
        let _ = wait.recv_timeout(COMPLAINT_LIMIT);
    }
}
