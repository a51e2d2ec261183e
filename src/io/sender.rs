//! Datagrams on their way out: straight to the socket, or through the faults of the network that were asked for.

use std::net::SocketAddr;

use crate::io::control::Control;
use crate::netem::emulator::Emulator;
use crate::netem::fault::FaultCommand;
use crate::proto::event::trace::TraceEvent;
use crate::proto::time::Instant;

/// A datagram and where it goes.
pub type Transmit = (SocketAddr, Vec<u8>);

/// The way out of a program. Without faults it holds and costs nothing.
#[derive(Debug, Default)]
pub struct DatagramSender {
    faults: Option<Emulator<SocketAddr>>,
    control: Option<Control>,
}

impl DatagramSender {
    /// A way with these faults, and with more to come from there.
    #[must_use]
    pub fn new(faults: Option<Emulator<SocketAddr>>, control: Option<Control>) -> Self {
        Self { faults, control }
    }

    /// Where orders come from, if from anywhere.
    pub fn control(&mut self) -> Option<&mut Control> {
        self.control.as_mut()
    }

    /// Whether orders may wait.
    #[must_use]
    pub fn has_orders(&self) -> bool {
        self.control.as_ref().is_some_and(Control::is_readable)
    }

    /// Obeys the orders that came.
    pub fn obey(&mut self) {
        if let Some(control) = &mut self.control {
            let faults = &mut self.faults;
            control.serve(|order: &FaultCommand| faults.get_or_insert_default().execute(order));
        }
    }

    /// Takes what is to be sent, and gives back what leaves now, in order, and what never will.
    pub fn pass(&mut self, now: Instant, transmits: Vec<Transmit>) -> (Vec<Transmit>, Vec<TraceEvent>) {
        let Some(faults) = self.faults.as_mut().filter(|faults| !faults.is_transparent()) else {
            return (transmits, Vec::new());
        };
        let mut swallowed = Vec::new();
        for (to, bytes) in transmits {
            if let Some(fault) = faults.send(now, to, &bytes) {
                swallowed.push(TraceEvent::fault(to, &bytes, fault));
            }
        }
        (std::iter::from_fn(|| faults.due(now)).collect(), swallowed)
    }

    /// What was held back and is in the air when its sender ends: it arrives, if early.
    pub fn rest(&mut self) -> Vec<Transmit> {
        let forever = Instant::from_micros(u64::MAX);
        self.faults.iter_mut().flat_map(|faults| std::iter::from_fn(|| faults.due(forever))).collect()
    }

    /// When something that is held back leaves.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.faults.as_ref().and_then(Emulator::deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::event::reason::FaultKind;

    const NOW: Instant = Instant::from_micros(1_000_000);

    fn with(order: &str) -> DatagramSender {
        let mut faults = Emulator::default();
        faults.execute(&order.parse().unwrap()).unwrap();
        DatagramSender::new(Some(faults), None)
    }

    fn datagram(port: u16) -> Transmit {
        (SocketAddr::from(([127, 0, 0, 1], port)), b"{\"chat\":1}\n{\"t\":\"bye\"}\n".to_vec())
    }

    #[test]
    fn without_faults_everything_leaves_as_it_comes() {
        let mut outgoing = DatagramSender::default();
        let all = vec![datagram(1), datagram(2)];
        assert_eq!(outgoing.pass(NOW, all.clone()), (all, Vec::new()));
        assert_eq!((outgoing.deadline(), outgoing.has_orders()), (None, false));
    }

    #[test]
    fn what_is_swallowed_is_told_and_the_rest_leaves() {
        let mut outgoing = with("to=127.0.0.1:1,drop=1");
        let (leaving, swallowed) = outgoing.pass(NOW, vec![datagram(1), datagram(2), datagram(1)]);
        assert_eq!(leaving, [datagram(2), datagram(1)]);
        let (to, frame) = (datagram(1).0, "bye".to_owned());
        assert_eq!(swallowed, [TraceEvent::Fault { peer: to.to_string(), frame, bytes: 23, fault: FaultKind::Drop }]);
    }

    #[test]
    fn what_is_late_leaves_at_its_time_or_when_its_sender_ends() {
        let mut outgoing = with("delay=20ms");
        let late = NOW + Duration::from_millis(20);
        assert_eq!(outgoing.pass(NOW, vec![datagram(1)]), (Vec::new(), Vec::new()));
        assert_eq!(outgoing.deadline(), Some(late));
        assert_eq!(outgoing.pass(late, Vec::new()).0, [datagram(1)]);
        outgoing.pass(late, vec![datagram(2)]);
        assert_eq!(outgoing.rest(), [datagram(2)]);
        assert_eq!(outgoing.deadline(), None);
    }
}
