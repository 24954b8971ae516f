//! The servers of a host, as its `resolv.conf` names them. Pure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// glibc's number of name servers (`MAXNS`).
const SERVERS_MAX: usize = 3;
const DNS_PORT: u16 = 53;
/// glibc's `RES_TIMEOUT`, and what it takes at most (`RES_MAXRETRANS`).
const TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// glibc's `RES_DFLRETRY`, and what it takes at most (`RES_MAXRETRY`).
const ATTEMPTS: usize = 2;
const ATTEMPTS_MAX: usize = 5;
/// When the next server is asked where the file does not say how long one is waited for. Less than
/// glibc's five seconds: after those the client asks again itself, and its application has waited.
const NEXT_AFTER: Duration = Duration::from_secs(1);

/// Whom to ask, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    pub all: Vec<SocketAddr>,
    /// How long each one is waited for.
    pub timeout: Duration,
    /// After which time without an answer the next one is asked too.
    pub next_after: Duration,
    /// How often each one is asked.
    pub attempts: usize,
    /// Each question begins with another one.
    pub rotate: bool,
}

impl Servers {
    /// These, as glibc would ask them without any options.
    pub fn chosen(addresses: &[IpAddr]) -> Self {
        Self {
            all: addresses.iter().map(|it| SocketAddr::new(*it, DNS_PORT)).collect(),
            timeout: TIMEOUT,
            next_after: NEXT_AFTER,
            attempts: ATTEMPTS,
            rotate: false,
        }
    }

    /// What a file says, in order; what cannot be read is left out, as glibc does.
    pub fn read(text: &str) -> Self {
        let mut addresses = Vec::new();
        let mut servers = Self::chosen(&[]);
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                // A scope (`fe80::1%eth0`) cannot be kept; such a server is left out.
                Some("nameserver") => {
                    let address = words.next().and_then(|it| it.parse::<IpAddr>().ok());
                    addresses.extend(address.filter(|_| addresses.len() < SERVERS_MAX));
                }
                Some("options") => words.for_each(|word| servers.option(word)),
                _ => {}
            }
        }
        servers.all = Self::chosen(&addresses).all;
        servers
    }

    fn option(&mut self, word: &str) {
        let number = |text: &str| text.parse::<u64>().ok();
        match word.split_once(':') {
            None if word == "rotate" => self.rotate = true,
            Some(("timeout", text)) => {
                if let Some(seconds) = number(text) {
                    self.timeout = Duration::from_secs(seconds.max(1)).min(TIMEOUT_MAX);
                    self.next_after = self.timeout;
                }
            }
            Some(("attempts", text)) => {
                if let Some(attempts) = number(text) {
                    self.attempts = usize::try_from(attempts).unwrap_or(ATTEMPTS_MAX);
                    self.attempts = self.attempts.clamp(1, ATTEMPTS_MAX);
                }
            }
            _ => {}
        }
    }

    /// In which order they are asked, for a question of this number.
    pub fn order(&self, turn: usize) -> Vec<SocketAddr> {
        let mut all = self.all.clone();
        if self.rotate && !all.is_empty() {
            let by = turn % all.len();
            all.rotate_left(by);
        }
        let rounds = std::iter::repeat_n(all, self.attempts);
        rounds.flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_glibc_does() {
        let text = "# nameserver 9.9.9.9\nsearch lan\nnameserver 192.168.0.1\nnameserver  ::1\n\
                    options ndots:0\nnameserver fe80::1%eth0\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n";
        let found = Servers::read(text);
        let all: Vec<String> = found.all.iter().map(|it| it.ip().to_string()).collect();
        assert_eq!(all, ["192.168.0.1", "::1", "1.1.1.1"]);
        let unsaid = (found.timeout, found.next_after, found.attempts, found.rotate);
        assert_eq!(unsaid, (TIMEOUT, NEXT_AFTER, 2, false));
    }

    #[test]
    fn options_say_how_they_are_asked() {
        let found = Servers::read(
            "options timeout:2 attempts:9 rotate edns0\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n",
        );
        assert_eq!(
            (found.timeout, found.next_after),
            (Duration::from_secs(2), Duration::from_secs(2))
        );
        assert_eq!(found.attempts, ATTEMPTS_MAX);
        let order =
            |turn| found.order(turn)[..3].iter().map(|it| it.ip().to_string()).collect::<Vec<_>>();
        assert_eq!(order(0), ["10.0.0.1", "10.0.0.2", "10.0.0.1"]);
        assert_eq!(order(1), ["10.0.0.2", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(found.order(0).len(), 10);
        for nonsense in ["options timeout:x attempts: rotated", "options timeout:0", "nameserver"] {
            assert_eq!(Servers::read(nonsense).order(7), []);
        }
    }
}
