//! Whether a container that has ended is started again, and when. Pure.

use std::time::Duration;

use skep_docker_api::ApiError;
use skep_docker_api::json::{HostConfig, RestartPolicyName};

use crate::record::State;

/// Docker's pauses between an end and the next start: doubled each time, up to a minute, and small
/// again after a run of ten seconds.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
const LONG_RUN: Duration = Duration::from_secs(10);

pub fn check(host: &HostConfig) -> Result<(), ApiError> {
    let RestartPolicyName { name, maximum_retry_count } = &host.restart_policy;
    let counted = match name.as_str() {
        "" | "no" | "always" | "unless-stopped" => false,
        "on-failure" => true,
        other => {
            return Err(ApiError::invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            )));
        }
    };
    if *maximum_retry_count != 0 && !counted {
        return Err(ApiError::invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ));
    }
    if *maximum_retry_count < 0 {
        return Err(ApiError::invalid(
            "invalid restart policy: maximum retry count cannot be negative",
        ));
    }
    if host.auto_remove && !matches!(name.as_str(), "" | "no") {
        return Err(ApiError::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    Ok(())
}

/// How a container ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub exit_code: i64,
    pub by_hand: bool,
    /// How often it was started again already.
    pub restarts: u64,
    pub ran: Duration,
}

/// The pause before the next start; None: it stays as it is.
pub fn next(policy: &RestartPolicyName, ended: Ended, last: Option<Duration>) -> Option<Duration> {
    if ended.by_hand {
        return None;
    }
    let again = match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => fails_again(policy, ended.exit_code, ended.restarts),
        _ => false,
    };
    let longer = last.filter(|_| ended.ran < LONG_RUN).map(|it| (it * 2).min(LONGEST));
    again.then_some(longer.unwrap_or(FIRST))
}

/// Whether a container that does not run is started when the daemon is. One that never ran is not.
///
/// That its user ended it counts for `unless-stopped` alone, as in Docker: `on-failure` looks at the
/// exit code and the count.
pub fn at_start(policy: &RestartPolicyName, state: &State) -> bool {
    state.started_at.is_some()
        && match policy.name.as_str() {
            "always" => true,
            "unless-stopped" => !state.stopped_by_hand,
            "on-failure" => fails_again(policy, state.exit_code, state.restart_count),
            _ => false,
        }
}

fn fails_again(policy: &RestartPolicyName, exit_code: i64, restarts: u64) -> bool {
    let most = u64::try_from(policy.maximum_retry_count).unwrap_or(0);
    exit_code != 0 && (most == 0 || restarts < most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, most: i64) -> RestartPolicyName {
        RestartPolicyName { name: name.to_owned(), maximum_retry_count: most }
    }

    fn ended(exit_code: i64, restarts: u64) -> Ended {
        Ended { exit_code, by_hand: false, restarts, ran: Duration::from_secs(1) }
    }

    #[test]
    fn policies_are_dockers() {
        let again = |name, most, it| next(&policy(name, most), it, None).is_some();
        assert!(!again("no", 0, ended(1, 0)));
        assert!(again("always", 0, ended(0, 9)));
        assert!(!again("on-failure", 0, ended(0, 0)));
        assert!(again("on-failure", 2, ended(1, 1)));
        assert!(!again("on-failure", 2, ended(1, 2)));
        assert!(!again("always", 0, Ended { by_hand: true, ..ended(1, 0) }));
    }

    #[test]
    fn who_comes_back_with_the_daemon() {
        let ran = State { started_at: Some(time::OffsetDateTime::UNIX_EPOCH), ..State::default() };
        let stopped = State { stopped_by_hand: true, exit_code: 137, ..ran.clone() };
        let back = |name, most, state: &State| at_start(&policy(name, most), state);
        assert!(back("always", 0, &ran) && back("always", 0, &stopped));
        assert!(!back("always", 0, &State::default()), "it never ran");
        assert!(back("unless-stopped", 0, &ran) && !back("unless-stopped", 0, &stopped));
        assert!(!back("on-failure", 0, &ran) && back("on-failure", 0, &stopped));
        assert!(!back("on-failure", 2, &State { restart_count: 2, ..stopped.clone() }));
        assert!(!back("no", 0, &stopped) && !back("", 0, &ran));
    }

    #[test]
    fn pauses_grow_until_a_long_run() {
        let always = policy("always", 0);
        let ms = |last, it| next(&always, it, last).map(|it| it.as_millis());
        assert_eq!(ms(None, ended(1, 0)), Some(100));
        assert_eq!(ms(Some(FIRST), ended(1, 1)), Some(200));
        assert_eq!(ms(Some(LONGEST), ended(1, 9)), Some(60_000));
        let long = Ended { ran: Duration::from_secs(11), ..ended(1, 9) };
        assert_eq!(ms(Some(LONGEST), long), Some(100));
    }

    #[test]
    fn bad_policies_are_refused() {
        let host = |name, most, auto_remove| HostConfig {
            restart_policy: policy(name, most),
            auto_remove,
            ..HostConfig::default()
        };
        assert!(check(&host("on-failure", 3, false)).is_ok());
        assert!(check(&host("sometimes", 0, false)).is_err());
        assert!(check(&host("always", 3, false)).is_err());
        assert!(check(&host("on-failure", -1, false)).is_err());
        assert!(check(&host("always", 0, true)).is_err());
    }
}
