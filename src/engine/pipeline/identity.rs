//! What makes a configured plugin the same one after a reload: its name, its alias, and everything it was built from.

use std::sync::Arc;

use crate::config::{Plan, Role, Spec};

/// A plugin's identity. The text holds its options, secrets too, and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) name: &'static str,
    pub(super) alias: Arc<str>,
    built_from: String,
}

impl Identity {
    /// Of a plugin of a plan: its own options, the common ones, and what it takes from `[agent]`.
    pub(super) fn new<K>(plan: &Plan, role: Role, spec: &Spec<K>) -> Self {
        let agent = &plan.agent;
        let of_agent = match role {
            Role::Output => format!("{:?}", agent.flush_interval),
            Role::Input | Role::Processor => format!(
                "{:?} {:?} {:?} {:?}",
                agent.tags, agent.interval, agent.round_interval, agent.collection_jitter
            ),
        };
        Identity {
            name: spec.entry.name,
            alias: Arc::clone(&spec.alias),
            built_from: format!("{}\n{:?}\n{}\n{of_agent}", spec.table, spec.common, plan.host),
        }
    }

    /// The same plugin under the same name, whatever its options: it can take over a queue or saved state.
    pub(super) fn succeeds(&self, other: &Identity) -> bool {
        (self.name, &self.alias) == (other.name, &other.alias)
    }
}

/// The options whose change a running agent cannot follow.
pub(super) fn at_the_next_start(old: &Plan, new: &Plan) -> Vec<&'static str> {
    let (a, b) = (&old.agent, &new.agent);
    let queue_bytes = new.outputs.iter().any(|spec| {
        let before = old.outputs.iter().find(|other| other.alias == spec.alias);
        before.is_some_and(|before| before.common.disk().bytes != spec.common.disk().bytes)
    });
    let changed = [
        ("agent.memory", a.memory != b.memory),
        ("agent.host", old.host != new.host),
        ("agent.history_retention", a.history_retention != b.history_retention),
        ("agent.backfill", a.backfill != b.backfill),
        ("agent.notifications_per_hour", a.notifications_per_hour != b.notifications_per_hour),
        ("agent.notifications_per_day", a.notifications_per_day != b.notifications_per_day),
        ("web.listen", old.web.listen != new.web.listen),
        ("web.allowed_hosts", old.web.allowed_hosts != new.web.allowed_hosts),
        ("outputs: queue_bytes", queue_bytes),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}
