//! Updates of the table: applies what the server sends, and keeps a partial table within its limit.

use crate::proto::client::Client;
use crate::proto::client::directory::{Change, TableUpdate, Totals};
use crate::proto::event::client::ClientEvent;
use crate::proto::id::Incarnation;
use crate::proto::name::Name;
use crate::proto::time::Instant;
use crate::proto::wire::Row;

impl Client {
    /// Processes a frame with rows of the server `incarnation`.
    pub(super) fn rows_arrived(&mut self, now: Instant, incarnation: Incarnation, update: TableUpdate) {
        let Some(change) = self.table.incoming(update) else { return };
        if !change.is_empty() && self.phase.is_online() {
            self.report_table(incarnation, &change);
        }
        self.table_changed(now, &change);
        self.login_completed();
    }

    /// Processes the totals of a partial table.
    pub(super) fn totals_arrived(&mut self, now: Instant, incarnation: Incarnation, version: u64, totals: Totals) {
        if self.table.set_totals(version, totals) && self.phase.is_online() {
            self.report_table(incarnation, &Change::default());
            self.table_changed(now, &Change::default());
        }
    }

    fn report_table(&mut self, incarnation: Incarnation, change: &Change) {
        let (total, online_count) = self.table.counts();
        let (partial, version, changed) = (self.table.is_partial(), self.table.version(), change.changed.clone());
        self.say(None, ClientEvent::Table { partial, version, incarnation, changed, total, online_count });
    }

    /// Applies a row that came with an answer, or that introduces a sender.
    pub(super) fn learn(&mut self, now: Instant, row: Row) {
        let change = self.table.learn(row);
        self.table_changed(now, &change);
    }

    /// Forgets the row of a reader that did not acknowledge, and for which the server keeps a message. In a partial
    /// table nobody refreshes it, so that the next message asks for it again.
    pub(super) fn forget_stale(&mut self, reader: &Name) {
        let change = self.table.forget_stale(reader);
        self.close_ended(&change);
    }

    /// Follows a change of the table: closes links to ended incarnations, reads peers that are known now, and sends
    /// waiting messages to changed readers.
    fn table_changed(&mut self, now: Instant, change: &Change) {
        self.close_ended(change);
        let outbox = &self.outbox;
        let evicted = self.table.evict(|name| outbox.has_messages(name));
        self.close_ended(&evicted);
        for row in &change.changed {
            if let Some(row) = self.table.get(row.name.as_str())
                && let Some(link) = self.links.get_mut(row.incarnation)
            {
                link.moved(row.addr);
            }
        }
        self.read_known_peers(now);
        let names = change.changed.iter().map(|row| &row.name).chain(&change.gone);
        let waiting: Vec<Name> = names.filter(|name| self.outbox.has_messages(name)).cloned().collect();
        for name in waiting {
            self.reader_changed(now, &name);
        }
    }

    fn close_ended(&mut self, change: &Change) {
        for incarnation in &change.ended {
            self.links.close(*incarnation);
        }
    }
}
