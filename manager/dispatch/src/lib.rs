//! What the dispatcher decides: which nodes are in session, what each of them is to run and read,
//! whom a change of the state concerns, what their reports do to the state, when a task that is to
//! stop has left every balancer, and which nodes publish logs for whom.
//!
//! It sends nothing: the manager's gRPC services carry what is decided here.
//!
//! **Invariant:** no clock, no entropy: `now`, session ids and the spread of heartbeats come in as
//! arguments.

pub mod assignment;
pub mod changed;
pub mod concern;
pub mod defaults;
pub mod endpoints;
pub mod journal;
pub mod logs;
pub mod report;
pub mod routes;
pub mod session;
pub mod watermark;
pub mod withdrawal;

pub use assignment::{AssignedAttachment, Assignments, Difference, ToldAssignments};
pub use changed::Changed;
pub use concern::{Concern, Networks, NodesTasks, Touched, Whom};
pub use journal::Journals;
pub use logs::{Follow, LogSelector, Subscription};
pub use report::{Report, ReportError, reported};
pub use routes::{Look, Routes, StreamId, StreamKind};
pub use session::{SessionError, SessionId, Sessions};
pub use watermark::Watermarks;
pub use withdrawal::Withdrawals;
