//! The network faults that a case has set and not healed, and the commands for each sender.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::netem::fault::FaultCommand;
use crate::runner::backend::NetworkChange;
use crate::runner::lang::ast::{ActorId, Direction, Fault, Peer};

/// The faults of each direction. There is at most one fault of a kind in a direction: a new one replaces the earlier
/// one.
#[derive(Debug, Default)]
pub(crate) struct ActiveFaults {
    faults: BTreeMap<(Direction, u8), Fault>,
}

impl ActiveFaults {
    /// Applies a change. Returns the new faults, for the running actors. `heal` returns none.
    pub(crate) fn apply(&mut self, change: &NetworkChange<'_>) -> Vec<(Direction, Fault)> {
        let new = match *change {
            NetworkChange::Fault(direction, fault) => vec![(direction.clone(), fault)],
            NetworkChange::Cut(a, b) => [(a, b), (b, a)]
                .map(|(from, to)| (Direction { from: from.clone(), to: to.clone() }, Fault::Cut))
                .to_vec(),
            NetworkChange::Heal => {
                self.faults.clear();
                Vec::new()
            }
        };
        for (direction, fault) in &new {
            // The running actors count their dropped datagrams. A later start must not drop them again.
            if !matches!(fault, Fault::Drop(_)) {
                self.faults.insert((direction.clone(), kind(*fault)), *fault);
            }
        }
        new
    }

    /// The commands for a sender that starts.
    pub(crate) fn commands(
        &self,
        sender: &ActorId,
        addr: impl Fn(&ActorId) -> Option<SocketAddr>,
    ) -> Vec<FaultCommand> {
        self.faults.iter().filter_map(|((direction, _), fault)| command(sender, direction, *fault, &addr)).collect()
    }
}

/// The command to a sender for a fault. `None` when the direction does not include the sender, or the receiver has no
/// address yet.
pub(crate) fn command(
    sender: &ActorId,
    direction: &Direction,
    fault: Fault,
    addr: impl Fn(&ActorId) -> Option<SocketAddr>,
) -> Option<FaultCommand> {
    let is_from = |actor: &ActorId| actor == sender;
    let to = match (&direction.from, &direction.to) {
        (Peer::Actor(from), _) if !is_from(from) => return None,
        (_, Peer::Anybody) => None,
        (_, Peer::Actor(to)) => Some(addr(to)?),
    };
    Some(FaultCommand { to, faults: vec![fault], ..FaultCommand::default() })
}

fn kind(fault: Fault) -> u8 {
    match fault {
        Fault::Drop(_) => 0,
        Fault::Loss(_) => 1,
        Fault::Delay(_) => 2,
        Fault::Duplicate(_) => 3,
        Fault::Reorder(_) => 4,
        Fault::Cut => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netem::fault::Percent;

    fn client(name: &str) -> ActorId {
        ActorId::Client(name.parse().unwrap())
    }

    fn peer(name: &str) -> Peer {
        match name {
            "*" => Peer::Anybody,
            "server" => Peer::Actor(ActorId::Server),
            name => Peer::Actor(client(name)),
        }
    }

    /// Every actor except `new` has an address.
    fn commands(active: &ActiveFaults, sender: &str) -> Vec<String> {
        let port = |actor: &ActorId| match actor.to_string().as_str() {
            "new" => None,
            "server" => Some(1),
            name => Some(u16::from(name.as_bytes()[0])),
        };
        let addr = |actor: &ActorId| port(actor).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let Peer::Actor(sender) = peer(sender) else { return Vec::new() };
        active.commands(&sender, addr).iter().map(ToString::to_string).collect()
    }

    fn add(active: &mut ActiveFaults, from: &str, to: &str, fault: Fault) -> usize {
        active.apply(&NetworkChange::Fault(&Direction { from: peer(from), to: peer(to) }, fault)).len()
    }

    #[test]
    fn each_sender_gets_the_faults_of_its_directions() {
        let mut active = ActiveFaults::default();
        let half = Fault::Loss(Percent::new(5_000).unwrap());
        add(&mut active, "x", "y", half);
        add(&mut active, "*", "server", Fault::Delay(std::time::Duration::from_millis(1)));
        add(&mut active, "y", "*", half);
        add(&mut active, "x", "new", half);
        assert_eq!(commands(&active, "x"), ["to=127.0.0.1:1,delay=1000us", "to=127.0.0.1:121,loss=50%"]);
        assert_eq!(commands(&active, "y"), ["to=127.0.0.1:1,delay=1000us", "loss=50%"]);
        assert_eq!(commands(&active, "z"), ["to=127.0.0.1:1,delay=1000us"]);
    }

    #[test]
    fn a_later_fault_of_a_kind_replaces_the_first_and_heal_clears_all() {
        let mut active = ActiveFaults::default();
        for hundredths in [1_000, 2_000] {
            add(&mut active, "x", "y", Fault::Loss(Percent::new(hundredths).unwrap()));
        }
        let cut = active.apply(&NetworkChange::Cut(&peer("x"), &peer("y")));
        assert_eq!(cut.len(), 2);
        assert_eq!(commands(&active, "x"), ["to=127.0.0.1:121,loss=20%", "to=127.0.0.1:121,cut"]);
        assert_eq!(commands(&active, "y"), ["to=127.0.0.1:120,cut"]);
        assert_eq!(active.apply(&NetworkChange::Heal), []);
        assert_eq!(commands(&active, "x"), [""; 0]);
    }

    #[test]
    fn drops_do_not_outlive_an_incarnation() {
        let mut active = ActiveFaults::default();
        assert_eq!(add(&mut active, "*", "y", Fault::Drop(2)), 1);
        assert_eq!(commands(&active, "x"), [""; 0]);
    }
}
