//! Network faults on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::io::control::ControlPath;
use crate::netem::emulator::Emulator;
use crate::netem::fault::FaultCommand;

/// Faults of the network of a server or a client.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkFaults {
    /// The emulator with the faults from the start.
    pub emulator: Option<Box<Emulator<SocketAddr>>>,
    /// The path of the socket for further commands.
    pub control: Option<ControlPath>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Faults of the network, for tests")]
pub(crate) struct NetworkArgs {
    /// Disturb what is sent, such as loss=30%,delay=20ms,seed=7 or to=127.0.0.1:9001,drop=1; may be repeated
    #[arg(long, value_name = "ORDER")]
    fault: Vec<String>,

    /// Take such orders, and heal, from a Unix datagram socket at this path
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

impl NetworkArgs {
    /// Whether one of these options is given.
    pub(crate) fn is_given(&self) -> bool {
        !self.fault.is_empty() || self.control.is_some()
    }

    /// The faults of the options, or one sentence about a wrong option.
    pub(crate) fn faults(&self) -> Result<NetworkFaults, String> {
        let mut emulator = None::<Box<Emulator<SocketAddr>>>;
        for command in &self.fault {
            emulator.get_or_insert_default().execute(&command.parse::<FaultCommand>()?)?;
        }
        let control = self.control.as_ref().map(ControlPath::new).transpose()?;
        Ok(NetworkFaults { emulator, control })
    }
}
