//! A container's state in a list's words: `Up 5 minutes`, `Exited (0) About an hour ago`.

use skep_engine::{ContainerState, Status};
use time::{Duration, OffsetDateTime};

/// Docker's words for how long something took.
pub fn human(duration: Duration) -> String {
    let seconds = duration.whole_seconds().max(0);
    let minutes = seconds / 60;
    // Rounded, as Docker does.
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., ..48) => format!("{hours} hours"),
        (.., ..336) => format!("{} days", hours / 24),
        (.., ..1440) => format!("{} weeks", hours / 24 / 7),
        (.., ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// `health` is the word of a check's outcome, where there is a check.
pub fn status(state: &ContainerState, health: Option<&str>, now: OffsetDateTime) -> String {
    match (state.status, &state.exit) {
        (Status::Created, _) => "Created".to_owned(),
        (Status::Running, _) => {
            let since = state.started_at.unwrap_or(state.created_at);
            let up = format!("Up {}", human(now - since));
            match health {
                Some("starting") => format!("{up} (health: starting)"),
                Some(word) => format!("{up} ({word})"),
                None => up,
            }
        }
        (Status::Paused, _) => {
            let since = state.started_at.unwrap_or(state.created_at);
            format!("Up {} (Paused)", human(now - since))
        }
        (Status::Exited, Some(exit)) => {
            format!("Exited ({}) {} ago", exit.code, human(now - exit.finished_at))
        }
        // Nobody saw how.
        (Status::Exited, None) => "Dead".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_as_docker_tells_them() {
        for (seconds, expected) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (2 * 3600, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86_400, "2 weeks"),
            (60 * 86_400, "2 months"),
            (800 * 86_400, "2 years"),
        ] {
            assert_eq!(human(Duration::seconds(seconds)), expected, "{seconds}");
        }
    }
}
