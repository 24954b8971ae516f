//! The life of one task on its node: accept, prepare, create, start, watch, stop, remove.

use skep_types::{DesiredState, TaskState};

/// What the node sees of a task's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// Nothing was made yet, or everything was removed.
    Absent,
    /// Image and mounts are there, and the container was created but not started.
    Created,
    /// The main process runs; `healthy` is true too where there is no health check.
    Running { healthy: bool },
    /// The main process ended by itself or by a signal.
    Exited { code: i32 },
}

/// What to do next. The agent does it, observes, and asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// As it shall be; look again when something changes.
    Wait,
    /// Report this state.
    Report(TaskState),
    /// Fetch the image, make the mounts, create the container.
    Create,
    Start,
    /// SIGTERM (or the task's own signal), then after the grace SIGKILL.
    Stop,
    /// Remove the container, its root file system and its logs.
    Remove,
}

/// Decides the next step of a task.
///
/// `reported` is the last state that the managers know of or will be told; it only grows, so each
/// state in between is reported on the way.
pub fn next_step(desired: DesiredState, reported: TaskState, observed: Observed) -> Step {
    match desired {
        DesiredState::Remove => removal(reported, observed),
        DesiredState::Shutdown => shutdown(reported, observed),
        DesiredState::Ready | DesiredState::Running | DesiredState::Complete => {
            progress(desired, reported, observed)
        }
    }
}

fn removal(reported: TaskState, observed: Observed) -> Step {
    match observed {
        Observed::Running { .. } => Step::Stop,
        Observed::Created | Observed::Exited { .. } if reported.is_terminal() => Step::Remove,
        Observed::Absent if reported.is_terminal() => Step::Wait,
        Observed::Absent | Observed::Created | Observed::Exited { .. } => {
            Step::Report(TaskState::Shutdown)
        }
    }
}

fn shutdown(reported: TaskState, observed: Observed) -> Step {
    match observed {
        _ if reported.is_terminal() && !matches!(observed, Observed::Running { .. }) => Step::Wait,
        Observed::Running { .. } => Step::Stop,
        // It never ran: there is no log of it that anybody could want.
        Observed::Created => Step::Remove,
        // Whatever its exit status: it ended because it was told to.
        Observed::Absent | Observed::Exited { .. } => Step::Report(TaskState::Shutdown),
    }
}

fn progress(desired: DesiredState, reported: TaskState, observed: Observed) -> Step {
    if reported.is_terminal() {
        // The managers hold it for ended (it may have been orphaned): it must not run on.
        return match observed {
            Observed::Running { .. } => Step::Stop,
            _ => Step::Wait,
        };
    }
    if reported < TaskState::Accepted {
        return Step::Report(TaskState::Accepted);
    }
    if reported < TaskState::Preparing {
        return Step::Report(TaskState::Preparing);
    }
    match observed {
        // A container that was there and is gone (the disk was wiped) cannot be told from success.
        Observed::Absent if reported > TaskState::Preparing => Step::Report(TaskState::Failed),
        Observed::Absent => Step::Create,
        Observed::Created if reported < TaskState::Ready => Step::Report(TaskState::Ready),
        Observed::Created if desired == DesiredState::Ready => Step::Wait,
        Observed::Created if reported < TaskState::Starting => Step::Report(TaskState::Starting),
        Observed::Created if reported == TaskState::Running => Step::Report(TaskState::Failed),
        Observed::Created => Step::Start,
        Observed::Running { .. } if reported < TaskState::Starting => {
            Step::Report(TaskState::Starting)
        }
        // A task counts as running only when it is healthy; what was healthy once stays so here,
        // for an unhealthy container is ended by the health check itself.
        Observed::Running { healthy: true } if reported < TaskState::Running => {
            Step::Report(TaskState::Running)
        }
        Observed::Running { .. } => Step::Wait,
        Observed::Exited { code: 0 } => Step::Report(TaskState::Complete),
        Observed::Exited { .. } => Step::Report(TaskState::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a task with an engine that always succeeds; gives the states it reports.
    fn play(
        desired: DesiredState,
        mut reported: TaskState,
        mut observed: Observed,
    ) -> Vec<TaskState> {
        let mut reports = Vec::new();
        for _ in 0..20 {
            match next_step(desired, reported, observed) {
                Step::Wait => return reports,
                Step::Report(state) => {
                    assert!(state > reported, "{reported:?} to {state:?} is backwards");
                    reported = state;
                    reports.push(state);
                }
                Step::Create => observed = Observed::Created,
                Step::Start => observed = Observed::Running { healthy: true },
                Step::Stop => observed = Observed::Exited { code: 143 },
                Step::Remove => observed = Observed::Absent,
            }
        }
        panic!("the task never comes to rest");
    }

    const RUNNING: Observed = Observed::Running { healthy: true };

    #[test]
    fn a_task_comes_up_step_by_step() {
        use TaskState::*;
        let reports = play(DesiredState::Running, Assigned, Observed::Absent);
        assert_eq!(reports, [Accepted, Preparing, Ready, Starting, Running]);
    }

    #[test]
    fn a_task_is_held_ready_until_it_is_let_go() {
        let reports = play(DesiredState::Ready, TaskState::Assigned, Observed::Absent);
        assert_eq!(reports.last(), Some(&TaskState::Ready));
        let reports = play(DesiredState::Running, TaskState::Ready, Observed::Created);
        assert_eq!(reports, [TaskState::Starting, TaskState::Running]);
    }

    #[test]
    fn what_is_told_to_stop_is_shut_down_whatever_its_exit_status() {
        assert_eq!(
            play(DesiredState::Shutdown, TaskState::Running, RUNNING),
            [TaskState::Shutdown]
        );
        assert_eq!(play(DesiredState::Remove, TaskState::Running, RUNNING), [TaskState::Shutdown]);
        let never_there = play(DesiredState::Shutdown, TaskState::Assigned, Observed::Absent);
        assert_eq!(never_there, [TaskState::Shutdown]);
    }

    #[test]
    fn what_is_told_to_stop_before_it_ran_leaves_no_container() {
        for reported in [TaskState::Preparing, TaskState::Ready, TaskState::Starting] {
            let step = next_step(DesiredState::Shutdown, reported, Observed::Created);
            assert_eq!(step, Step::Remove, "{reported:?}");
            let then = next_step(DesiredState::Shutdown, reported, Observed::Absent);
            assert_eq!(then, Step::Report(TaskState::Shutdown), "{reported:?}");
        }
    }

    #[test]
    fn an_end_by_itself_is_reported_by_its_exit_status() {
        for (code, expected) in [(0, TaskState::Complete), (1, TaskState::Failed)] {
            let exited = Observed::Exited { code };
            assert_eq!(play(DesiredState::Running, TaskState::Running, exited), [expected]);
        }
        assert_eq!(
            play(DesiredState::Running, TaskState::Running, Observed::Absent),
            [TaskState::Failed]
        );
    }

    #[test]
    fn an_unhealthy_start_is_not_running_yet() {
        let unhealthy = Observed::Running { healthy: false };
        let step = next_step(DesiredState::Running, TaskState::Starting, unhealthy);
        assert_eq!(step, Step::Wait);
    }

    #[test]
    fn a_container_that_the_managers_gave_up_is_stopped() {
        let step = next_step(DesiredState::Running, TaskState::Orphaned, RUNNING);
        assert_eq!(step, Step::Stop);
    }

    #[test]
    fn every_combination_comes_to_rest_and_never_goes_backwards() {
        let desired = [
            DesiredState::Ready,
            DesiredState::Running,
            DesiredState::Complete,
            DesiredState::Shutdown,
            DesiredState::Remove,
        ];
        let observed = [
            Observed::Absent,
            Observed::Created,
            Observed::Running { healthy: false },
            RUNNING,
            Observed::Exited { code: 0 },
            Observed::Exited { code: 1 },
        ];
        for desired in desired {
            for reported in TaskState::ALL {
                for observed in observed {
                    play(desired, reported, observed);
                }
            }
        }
    }
}
