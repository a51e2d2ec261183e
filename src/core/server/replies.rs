//! Replies: what a client asked is answered on its link.

use super::super::id::Life;
use super::super::name::Name;
use super::super::server_event::ServerEvent;
use super::super::wire::{Frame, Outcome};
use super::Server;

impl Server {
    pub(super) fn reply(&mut self, life: Life, frame: Frame) {
        if let Some(link) = self.links.get_mut(life) {
            link.push(frame, None, None);
        }
    }

    pub(super) fn answer_ok(&mut self, life: Life, r: u64) {
        self.reply(life, answer(r, Outcome::Ok));
    }

    pub(super) fn refuse(&mut self, life: Life, r: u64, name: &Name, reason: &'static str) {
        if self.links.get(life).is_some() {
            self.reply(life, Frame::Refused { r, reason: reason.to_owned() });
            self.say(ServerEvent::Rejected { reason, from: name.clone(), group: None });
        }
    }
}

/// An answer that is no more than its outcome.
pub(super) fn answer(r: u64, is: Outcome) -> Frame {
    Frame::Answer { r, is, n: 0, row: None, names: Vec::new(), more: false }
}
