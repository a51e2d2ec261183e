//! Tests of the protocol on a simulated network, clock and disk. They use no processes, no sockets and no real time.

mod alone;
mod attacker;
mod history;
mod peer;
mod trace;

mod amplification;
mod backpressure;
mod blocked_reader;
mod crash_at_every_record;
mod direct;
mod events;
mod fairness;
mod forging;
mod golden;
mod goodput;
mod groups;
mod histories;
mod keep_alive;
mod leaving;
mod limits;
mod lists;
mod logs;
mod loss;
mod mail;
mod names;
mod partial;
mod paused;
mod registration;
mod replays;
mod server_restart;
mod strangers;
mod table;
