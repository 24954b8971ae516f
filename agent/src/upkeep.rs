//! Looks again and again whether this node's networks stand as they should, with a session or without:
//! an interface that somebody took away, rules that a firewall's restart flushed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use skep_overlay_net::{Finding, Mend};
use skep_proto::v1 as pb;
use skep_types::error_chain;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::defaults::{FINDING_BYTES_MAX, FINDINGS_MAX, UPKEEP_INTERVAL, UPKEEP_SHARE};
use crate::executor::Executor;

/// What the last look has found, and what was mended before it.
#[derive(Debug, Clone, Default)]
pub struct Upkeep {
    /// The newest last.
    mended: VecDeque<(Instant, String)>,
    /// What could not be mended, with the reason.
    open: Vec<(String, String)>,
    /// Why it could not be looked at all.
    error: String,
    /// None before the first look.
    took: Option<Duration>,
}

impl Upkeep {
    /// As the leader is told; nothing before the first look.
    pub fn report(&self, session_id: &str) -> Option<pb::UpkeepReport> {
        let open = self.open.iter().map(|(what, error)| pb::NetworkFinding {
            what: what.clone(),
            error: error.clone(),
            age_ms: 0,
        });
        let mended = self.mended.iter().rev().map(|(at, what)| pb::NetworkFinding {
            what: what.clone(),
            error: String::new(),
            age_ms: u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        Some(pb::UpkeepReport {
            session_id: session_id.to_owned(),
            found: open.chain(mended).take(FINDINGS_MAX).collect(),
            error: self.error.clone(),
            took_us: u64::try_from(self.took?.as_micros()).unwrap_or(u64::MAX),
        })
    }

    fn take_in(&mut self, found: Vec<Finding>, now: Instant) {
        let before = std::mem::take(&mut self.open);
        for Finding { what, mend, .. } in found {
            let what = short(what);
            match mend {
                Mend::Failed(error) => {
                    let open = (what, short(error));
                    // Said once, not at each look.
                    if !before.contains(&open) {
                        let (what, error) = &open;
                        tracing::error!(what, error, "a network could not be mended");
                    }
                    self.open.push(open);
                }
                Mend::Open | Mend::Done => {
                    tracing::warn!(what, "a network was mended");
                    self.mended.retain(|(_, before)| *before != what);
                    self.mended.push_back((now, what));
                }
            }
        }
        while self.mended.len() > FINDINGS_MAX {
            self.mended.pop_front();
        }
        self.open.truncate(FINDINGS_MAX);
    }
}

/// No longer than a manager keeps.
fn short(mut text: String) -> String {
    if text.len() > FINDING_BYTES_MAX {
        text.truncate(text.floor_char_boundary(FINDING_BYTES_MAX));
        text.push('…');
    }
    text
}

/// Never ends.
pub async fn keep(executor: &Arc<dyn Executor>, news: &watch::Sender<Upkeep>) {
    let mut pause = UPKEEP_INTERVAL;
    loop {
        tokio::time::sleep(pause).await;
        let began = Instant::now();
        let found = executor.mend_networks().await;
        let took = began.elapsed();
        news.send_modify(|upkeep| {
            upkeep.took = Some(took);
            upkeep.error.clear();
            match found {
                Ok(found) => upkeep.take_in(found, began),
                Err(error) => {
                    upkeep.error = short(error_chain(&error));
                    let error = &upkeep.error;
                    tracing::warn!(error, "failed to look at this node's networks");
                }
            }
        });
        pause = UPKEEP_INTERVAL.max(took * UPKEEP_SHARE);
    }
}

#[cfg(test)]
mod tests {
    use skep_overlay_net::Subject;

    use super::*;

    #[test]
    fn what_was_mended_is_remembered_and_what_is_open_only_while_it_is() {
        let mut upkeep = Upkeep::default();
        assert_eq!(upkeep.report("s"), None, "nobody has looked yet");
        upkeep.took = Some(Duration::from_micros(7));
        let finding = |what: &str, mend: Mend| Finding {
            subject: Subject::Host,
            what: what.to_owned(),
            mend,
        };
        let failed = || Mend::Failed("no such device".to_owned());
        let now = Instant::now();
        upkeep.take_in(vec![finding("rules", Mend::Done), finding("bridge", failed())], now);
        upkeep.take_in(vec![finding("rules", Mend::Done)], now);
        let told = |upkeep: &Upkeep| -> Vec<(String, String)> {
            let found = upkeep.report("s").unwrap().found.into_iter();
            found.map(|it| (it.what, it.error)).collect()
        };
        assert_eq!(told(&upkeep), [("rules".to_owned(), String::new())], "once");
        upkeep.take_in(vec![finding("bridge", failed())], now);
        assert_eq!(told(&upkeep)[0], ("bridge".to_owned(), "no such device".to_owned()));

        let long = "ä".repeat(1000);
        let many = (0..100).map(|it| finding(&format!("{it}{long}"), Mend::Done));
        upkeep.take_in(many.collect(), now);
        let report = upkeep.report("s").unwrap();
        assert_eq!(report.found.len(), FINDINGS_MAX);
        assert!(report.found[0].what.starts_with("99"), "the newest first");
        assert!(prost::Message::encoded_len(&report) < 40 << 10, "a manager keeps it");
    }
}
