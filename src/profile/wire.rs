//! What an agent tells its driver, and what that answers. docs/driver-protocol.md has the rules; these are its types.

mod answer;
mod report;

pub use answer::{Answer, HoldOrder, LeaseOrder, Order, Refusal, StopOrder};
pub use report::{
    Class, Event, Failure, Instance, LeaseLeft, NoticeKind, Now, OrderOutcome, Phase, Report, State, What, WorkerState,
};

/// The format of reports and answers that is written and read here.
pub const FORMAT: u32 = 1;

/// The most that an agent sends in one report, in bytes.
pub const LARGEST_REPORT: usize = 512 * 1024;

/// The most that an agent takes of an answer, in bytes.
pub const LARGEST_ANSWER: u64 = 64 * 1024;
