//! Passes outgoing datagrams to the socket, through the network emulator of `--fault` and `--control` if there is one.

use std::net::SocketAddr;

use crate::io::control::Control;
use crate::netem::emulator::Emulator;
use crate::netem::fault::FaultCommand;
use crate::proto::event::trace::TraceEvent;
use crate::proto::time::Instant;

/// The destination and the bytes of a datagram.
pub type Transmit = (SocketAddr, Vec<u8>);

/// The sender of a program. Without faults it holds no datagram and costs nothing.
#[derive(Debug, Default)]
pub struct DatagramSender {
    emulator: Option<Emulator<SocketAddr>>,
    control: Option<Control>,
}

impl DatagramSender {
    /// A sender with the faults of this emulator, and a socket for further commands.
    #[must_use]
    pub fn new(emulator: Option<Emulator<SocketAddr>>, control: Option<Control>) -> Self {
        Self { emulator, control }
    }

    /// The socket for fault commands, if there is one.
    pub fn control(&mut self) -> Option<&mut Control> {
        self.control.as_mut()
    }

    /// Whether fault commands may wait.
    #[must_use]
    pub fn has_commands(&self) -> bool {
        self.control.as_ref().is_some_and(Control::is_readable)
    }

    /// Executes the queued fault commands.
    pub fn apply_commands(&mut self) {
        if let Some(control) = &mut self.control {
            let emulator = &mut self.emulator;
            control.serve(|command: &FaultCommand| emulator.get_or_insert_default().execute(command));
        }
    }

    /// Passes datagrams through the emulator. Returns the datagrams that leave now, in order, and an event for each
    /// datagram that a fault dropped.
    pub fn pass(&mut self, now: Instant, transmits: Vec<Transmit>) -> (Vec<Transmit>, Vec<TraceEvent>) {
        let Some(emulator) = self.emulator.as_mut().filter(|emulator| !emulator.is_transparent()) else {
            return (transmits, Vec::new());
        };
        let mut dropped = Vec::new();
        for (to, bytes) in transmits {
            if let Some(fault) = emulator.send(now, to, &bytes) {
                dropped.push(TraceEvent::fault(to, &bytes, fault));
            }
        }
        (std::iter::from_fn(|| emulator.due(now)).collect(), dropped)
    }

    /// Takes all delayed datagrams, to be sent when the program ends. They leave early instead of never.
    pub fn take_delayed(&mut self) -> Vec<Transmit> {
        let forever = Instant::from_micros(u64::MAX);
        self.emulator.iter_mut().flat_map(|emulator| std::iter::from_fn(|| emulator.due(forever))).collect()
    }

    /// When the next delayed datagram leaves.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.emulator.as_ref().and_then(Emulator::deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::event::reason::FaultKind;

    const NOW: Instant = Instant::from_micros(1_000_000);

    fn with(command: &str) -> DatagramSender {
        let mut emulator = Emulator::default();
        emulator.execute(&command.parse().unwrap()).unwrap();
        DatagramSender::new(Some(emulator), None)
    }

    fn datagram(port: u16) -> Transmit {
        (SocketAddr::from(([127, 0, 0, 1], port)), b"{\"chat\":2}\n{\"t\":\"bye\"}\n".to_vec())
    }

    #[test]
    fn without_faults_every_datagram_leaves_at_once() {
        let mut outgoing = DatagramSender::default();
        let all = vec![datagram(1), datagram(2)];
        assert_eq!(outgoing.pass(NOW, all.clone()), (all, Vec::new()));
        assert_eq!((outgoing.deadline(), outgoing.has_commands()), (None, false));
    }

    #[test]
    fn dropped_datagrams_are_reported_and_the_rest_leaves() {
        let mut outgoing = with("to=127.0.0.1:1,drop=1");
        let (leaving, dropped) = outgoing.pass(NOW, vec![datagram(1), datagram(2), datagram(1)]);
        assert_eq!(leaving, [datagram(2), datagram(1)]);
        let (to, frame) = (datagram(1).0, "bye".to_owned());
        assert_eq!(dropped, [TraceEvent::Fault { peer: to.to_string(), frame, bytes: 23, fault: FaultKind::Drop }]);
    }

    #[test]
    fn delayed_datagrams_leave_at_their_time_or_when_the_program_ends() {
        let mut outgoing = with("delay=20ms");
        let late = NOW + Duration::from_millis(20);
        assert_eq!(outgoing.pass(NOW, vec![datagram(1)]), (Vec::new(), Vec::new()));
        assert_eq!(outgoing.deadline(), Some(late));
        assert_eq!(outgoing.pass(late, Vec::new()).0, [datagram(1)]);
        outgoing.pass(late, vec![datagram(2)]);
        assert_eq!(outgoing.take_delayed(), [datagram(2)]);
        assert_eq!(outgoing.deadline(), None);
    }
}
