//! What a seed makes of its swarm: how large it is, what goes wrong in it, and for how long.

use std::time::Duration;

use crate::rng::Rng;

/// A swarm to be simulated.
#[derive(Debug, Clone)]
pub struct Shape {
    pub managers: usize,
    pub nodes: u64,
    pub services_max: usize,
    /// How long users change things and faults happen.
    pub trouble: Duration,
    pub faults: Faults,
}

/// How often things go wrong; a rate of zero is never, others are once in so many times.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// A message is lost.
    pub loss: u64,
    /// A message comes twice.
    pub double: u64,
    /// A message takes up to this much longer than others, and may be overtaken.
    pub delay: Duration,
    /// Between two faults of managers, on average.
    pub managers: Duration,
    /// Between two faults of nodes, on average.
    pub nodes: Duration,
    /// A container ends by itself when it is looked at.
    pub containers: u64,
    /// A container cannot be made or started.
    pub starts: u64,
    /// How far a host's clock may be off, either way.
    pub clocks: Duration,
}

const SECOND: Duration = Duration::from_secs(1);

impl Shape {
    /// Most swarms are small, where faults meet most often; some have hundreds of nodes.
    pub fn of(rng: &mut Rng) -> Self {
        let managers = [1, 3, 3, 5, 5, 7][rng.below(6) as usize];
        let nodes = match rng.below(40) {
            0..=29 => 3 + rng.below(8),
            30..=38 => 10 + rng.below(30),
            _ => 40 + rng.below(161),
        };
        let calm = rng.once_in(8);
        Self {
            managers,
            nodes: nodes.max(managers as u64),
            services_max: 2 + rng.below(6) as usize,
            trouble: SECOND * (60 + rng.below(180) as u32),
            faults: if calm { Faults::default() } else { Faults::of(rng, nodes) },
        }
    }
}

impl Faults {
    fn of(rng: &mut Rng, nodes: u64) -> Self {
        let rate = |rng: &mut Rng, least: u64| match rng.below(3) {
            0 => 0,
            _ => least + rng.below(least * 4),
        };
        let clocks = match rng.below(6) {
            0..=2 => Duration::ZERO,
            3 | 4 => SECOND * 3,
            _ => SECOND * 600,
        };
        Self {
            loss: rate(rng, 20),
            double: rate(rng, 20),
            delay: Duration::from_millis([0, 50, 2_000][rng.below(3) as usize]),
            managers: SECOND * (5 + rng.below(40) as u32),
            nodes: SECOND * (2 + rng.below(30) as u32),
            containers: rate(rng, 200 + nodes * 10),
            starts: rate(rng, 20),
            clocks,
        }
    }
}
