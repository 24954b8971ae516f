//! Signals as users write them: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.

use std::fmt;

/// A signal's number, known to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    pub const TERM: Signal = Signal(libc::SIGTERM);
    pub const KILL: Signal = Signal(libc::SIGKILL);

    /// None unless the kernel has a signal of this number.
    pub fn from_number(number: i32) -> Option<Signal> {
        (1..=libc::SIGRTMAX()).contains(&number).then_some(Signal(number))
    }

    /// Reads a name, with or without `SIG`, in any case, or a number.
    pub fn parse(text: &str) -> Option<Signal> {
        if let Ok(number) = text.parse::<i32>() {
            return Signal::from_number(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(number) = realtime(name) {
            return Signal::from_number(number);
        }
        let alias = match name {
            "CLD" => "CHLD",
            "IOT" => "ABRT",
            "POLL" => "IO",
            other => other,
        };
        format!("SIG{alias}").parse::<nix::sys::signal::Signal>().ok().map(|s| Signal(s as i32))
    }

    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

/// Real-time signals are counted from either end.
fn realtime(name: &str) -> Option<i32> {
    let offset = |rest: &str, sign: char| match rest.strip_prefix(sign) {
        Some(digits) => digits.parse::<i32>().ok().filter(|n| (0..=30).contains(n)),
        None => rest.is_empty().then_some(0),
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return offset(rest, '+').map(|n| libc::SIGRTMIN() + n);
    }
    let rest = name.strip_prefix("RTMAX")?;
    offset(rest, '-').map(|n| libc::SIGRTMAX() - n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_as_docker_reads_them() {
        let number = |text| Signal::parse(text).map(Signal::number);
        assert_eq!(number("SIGTERM"), Some(15));
        assert_eq!(number("term"), Some(15));
        assert_eq!(number("9"), Some(9));
        assert_eq!(number("SIGRTMIN+3"), Some(libc::SIGRTMIN() + 3));
        assert_eq!(number("RTMAX-1"), Some(libc::SIGRTMAX() - 1));
        assert_eq!(number("IOT"), Some(6));
        for bad in ["", "0", "-1", "65", "SIGNOPE", "RTMIN+99", "RTMIN-1"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
