//! The phase of a client from its start to its end, and the state of its registration.

use crate::proto::client::registration::Registration;
use crate::proto::client::shutdown::ShutdownNotice;
use crate::proto::time::Instant;

/// Where a client is between its start and its end.
///
/// Two states are independent of the phase and have fields of their own. The [`RegistrationState`] changes while a user
/// stays online: a client registers again in the background when its server was restarted. The end of input, in the
/// command queue, may come in any phase, and a queued `reg` may still follow it.
#[derive(Debug)]
pub enum ClientPhase {
    /// A user waits for the registration: from the start, or from the command `reg`.
    Connecting {
        /// The command `reg`, if there is one.
        cmd: Option<u64>,
    },
    /// The server has sent `welcome`. The first whole table is still to come.
    LoggingIn(PendingLogin),
    /// The user may send and receives messages.
    Online,
    /// The user has de-registered, or was refused.
    Offline,
    /// The client gives notice to the server.
    Closing(ShutdownNotice),
    /// The client has ended. This phase is final.
    Closed,
}

/// The wait for the first table after the welcome.
#[derive(Debug)]
pub struct PendingLogin {
    /// The command `reg`, if there is one.
    pub cmd: Option<u64>,
    /// The attempts to hear from the server.
    pub attempt: u32,
    /// When this attempt ends.
    pub ends: Instant,
}

/// Whether the server has this client in its table.
#[derive(Debug)]
pub enum RegistrationState {
    /// The server does not know this client, or the client does not know whether it does.
    Unregistered,
    /// A registration is under way.
    Registering(Registration),
    /// The server has sent `welcome`.
    Registered,
}

impl ClientPhase {
    /// Whether messages are displayed and sent.
    pub fn is_online(&self) -> bool {
        matches!(self, Self::LoggingIn(_) | Self::Online)
    }

    /// Whether the user has de-registered.
    pub fn is_offline(&self) -> bool {
        match self {
            Self::Offline => true,
            Self::Closing(notice) => notice.is_deregistered(),
            _ => false,
        }
    }

    /// Whether a user waits for the registration or for the first table.
    pub fn is_entering(&self) -> bool {
        matches!(self, Self::Connecting { .. } | Self::LoggingIn(_))
    }

    /// Whether the client gives notice or has ended.
    pub fn is_closing(&self) -> bool {
        matches!(self, Self::Closing(_) | Self::Closed)
    }

    /// Whether the client has ended.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// The command `reg` that waits for the registration or for the first table.
    pub fn reg_command(&self) -> Option<u64> {
        match self {
            Self::Connecting { cmd } | Self::LoggingIn(PendingLogin { cmd, .. }) => *cmd,
            _ => None,
        }
    }
}

impl RegistrationState {
    /// Whether the server has sent `welcome` to this client.
    pub fn is_registered(&self) -> bool {
        matches!(self, Self::Registered)
    }

    /// The registration that is under way.
    pub fn attempt(&self) -> Option<&Registration> {
        if let Self::Registering(registration) = self { Some(registration) } else { None }
    }

    /// The registration that is under way.
    pub fn attempt_mut(&mut self) -> Option<&mut Registration> {
        if let Self::Registering(registration) = self { Some(registration) } else { None }
    }

    /// Gives up a registration that is under way.
    pub fn abandon(&mut self) {
        if self.attempt().is_some() {
            *self = Self::Unregistered;
        }
    }
}
