//! One host whose daemon is killed in the middle of things and started again, at moments that a
//! seed gives.
//!
//! `SKEP_SEED` gives the seed, which a failed test shows; `SKEP_KILLS` how often each test kills.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::eventually::eventually_blocking;
use crate::footprint::Footprint;
use crate::host::Host;
use crate::http::{self, Answer};
use crate::limits;
use crate::single::{IMAGE, Single};

/// Spread over what is done, so that each part of it is met.
const KILLS: u32 = 5;

pub struct Wreck {
    single: Single,
    /// The host with a daemon that has nothing to do.
    empty: Footprint,
    moments: StdRng,
}

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

/// What a call came to; none where the daemon was killed before it could answer.
pub fn ask(host: &Host, method: &str, path: &str, body: &[u8]) -> Option<Answer> {
    let kind = if body.starts_with(b"{") { "application/json" } else { "application/x-tar" };
    http::exchange(&host.socket(), method, path, &[("Content-Type", kind)], body).ok()
}

impl Wreck {
    /// None (and SKIP) without root.
    pub fn new() -> Option<Self> {
        let single = Single::own()?;
        let seed = number("SKEP_SEED").unwrap_or_else(|| rand::rng().random());
        eprintln!("moments of SKEP_SEED={seed}");
        // One that has to do with nothing: it keeps what containers share in its place.
        let words = ["skep", "run", "-d", "--name", BYSTANDER, IMAGE, "sleep", "1000000"];
        single.host().check(&words).unwrap();
        // The first container leaves what all later ones find: tables of rules, and the like.
        single
            .host()
            .check(&["skep", "run", "--rm", "-p", "80", "-v", "/v", IMAGE, "true"])
            .unwrap();
        let empty = Footprint::of(&single.host()).unwrap();
        Some(Self { single, empty, moments: StdRng::seed_from_u64(seed) })
    }

    /// What stands now belongs to the host: an image that a test needs all the time.
    pub fn settle(&mut self) {
        self.empty = Footprint::of(&self.single.host()).unwrap();
    }

    pub fn single(&self) -> &Single {
        &self.single
    }

    pub fn host(&self) -> Host {
        self.single.host()
    }

    /// Prepares and does something again and again, and kills the daemon meanwhile: the first time
    /// at once, the last time about when all is done. `after` sees what was answered, with the
    /// daemon up again; then all is taken away, and nothing may be left.
    pub fn kill_during<P: Sync, T: Send>(
        &mut self,
        prepare: impl Fn(&Single, &str) -> P,
        act: impl Fn(&Host, &P) -> T + Sync,
        after: impl Fn(&Single, &P, T),
    ) {
        let kills = number("SKEP_KILLS").unwrap_or(KILLS);
        // How long it takes is measured where nothing is killed.
        let prepared = prepare(&self.single, "whole");
        let begun = Instant::now();
        let done = act(&self.host(), &prepared);
        let whole = begun.elapsed();
        after(&self.single, &prepared, done);
        self.clear();
        for kill in 0..kills {
            let part = f64::from(kill) + self.moments.random::<f64>();
            let moment = whole.mul_f64(1.1 * part / f64::from(kills));
            self.kill_once(moment, &format!("n{kill}"), &prepare, &act, &after);
        }
    }

    fn kill_once<P: Sync, T: Send>(
        &mut self,
        moment: Duration,
        name: &str,
        prepare: impl Fn(&Single, &str) -> P,
        act: impl Fn(&Host, &P) -> T + Sync,
        after: impl Fn(&Single, &P, T),
    ) {
        eprintln!("{name}: killed after {moment:?}");
        let host = self.host();
        let prepared = prepare(&self.single, name);
        let done = std::thread::scope(|scope| {
            let acting = scope.spawn(|| act(&host, &prepared));
            // Not a wait for anything: the moment is what is tried.
            std::thread::sleep(moment);
            host.kill(Signal::SIGKILL).unwrap();
            acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        host.start().unwrap();
        after(&self.single, &prepared, done);
        self.clear();
    }

    /// Takes away all that the daemon lists, and demands that nothing else was there.
    pub fn clear(&self) {
        let list = |path: &str| self.single.api("GET", path, "").json();
        let each = |found: &serde_json::Value, key: &str, path: &str| {
            for one in found.as_array().into_iter().flatten() {
                let name = one[key].as_str().unwrap();
                if one["Names"][0].as_str().is_some_and(|it| &it[1..] == BYSTANDER) {
                    continue;
                }
                let answer = self.single.api("DELETE", &path.replace("{}", name), "");
                assert!(answer.status < 300, "{name}: {} {}", answer.status, answer.text());
            }
        };
        each(&list("/containers/json?all=1"), "Id", "/containers/{}?force=1&v=1");
        each(&list("/volumes")["Volumes"], "Name", "/volumes/{}");
        let networks = list("/networks?filters=%7B%22type%22:%5B%22custom%22%5D%7D");
        each(&networks, "Id", "/networks/{}");
        for image in list("/images/json?all=1").as_array().into_iter().flatten() {
            if image["RepoTags"][0] != IMAGE && image["RepoTags"][0] != BASE {
                let path = format!("/images/{}?force=1", image["Id"].as_str().unwrap());
                let answer = self.single.api("DELETE", &path, "");
                assert!(answer.status < 300, "{} {}", answer.status, answer.text());
            }
        }
        // What ends by itself is given the time.
        eventually_blocking(limits::SHOWN_WITHIN, || {
            let left = Footprint::of(&self.host()).unwrap().against(&self.empty);
            if left == Default::default() { Ok(()) } else { Err(format!("left behind:\n{left}")) }
        });
    }
}

/// A container that runs all the time.
pub const BYSTANDER: &str = "bystander";

/// An image of a test's own that stays for all of its kills.
pub const BASE: &str = "base:latest";
