//! Faults of the network on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::io::control::ControlPath;
use crate::netem::emulator::Emulator;
use crate::netem::fault::FaultCommand;

/// How the network of a server or a client is disturbed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkFaults {
    /// The faults to begin with.
    pub faults: Option<Box<Emulator<SocketAddr>>>,
    /// Where orders for more of them are taken.
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
    /// Whether any of this stands on the command line.
    pub(crate) fn is_given(&self) -> bool {
        !self.fault.is_empty() || self.control.is_some()
    }

    /// What it asks for, or the sentence that says what is wrong.
    pub(crate) fn trouble(&self) -> Result<NetworkFaults, String> {
        let mut faults = None::<Box<Emulator<SocketAddr>>>;
        for order in &self.fault {
            faults.get_or_insert_default().execute(&order.parse::<FaultCommand>()?)?;
        }
        let control = self.control.as_ref().map(ControlPath::new).transpose()?;
        Ok(NetworkFaults { faults, control })
    }
}
