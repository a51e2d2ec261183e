//! The phase of a client from its start to its end, and the state of its registration.

use crate::proto::client::registration::Registration;
use crate::proto::client::shutdown::ShutdownNotice;
use crate::proto::time::Instant;

/// The phase of a client between its start and its end.
///
/// Two states are independent of the phase and have fields of their own. The [`RegistrationState`] can change while the
/// user stays online, because a client registers again in the background after a restart of its server. The end of
/// input, in the command queue, can arrive in any phase, and a queued `reg` can still run after it.
#[derive(Debug)]
pub enum ClientPhase {
    /// The user waits for the registration, at the start or after the command `reg`.
    Connecting {
        /// The command `reg`, if there is one.
        cmd: Option<u64>,
    },
    /// The server has sent `welcome`. The first table has not arrived.
    LoggingIn(PendingLogin),
    /// The user can send and receive messages.
    Online,
    /// The user has de-registered, or the server refused the name.
    Offline,
    /// The client gives notice to the server.
    Closing(ShutdownNotice),
    /// The client has ended. This phase is final.
    Closed,
}

/// The wait for the first table after `welcome`.
#[derive(Debug)]
pub struct PendingLogin {
    /// The command `reg`, if there is one.
    pub cmd: Option<u64>,
    /// The number of the current attempt, from 1.
    pub attempt: u32,
    /// When this attempt ends.
    pub ends: Instant,
}

/// Whether the server has this client in its table.
#[derive(Debug)]
pub enum RegistrationState {
    /// The server does not know this client, or may not know it.
    Unregistered,
    /// A registration is in progress.
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

    /// Whether the user waits for the registration or for the first table.
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

    /// The registration in progress.
    pub fn attempt(&self) -> Option<&Registration> {
        if let Self::Registering(registration) = self { Some(registration) } else { None }
    }

    /// The registration in progress.
    pub fn attempt_mut(&mut self) -> Option<&mut Registration> {
        if let Self::Registering(registration) = self { Some(registration) } else { None }
    }

    /// Cancels a registration that is in progress.
    pub fn abandon(&mut self) {
        if self.attempt().is_some() {
            *self = Self::Unregistered;
        }
    }
}
