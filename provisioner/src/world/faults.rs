//! What goes wrong, and how often.

use std::time::Duration;

use crate::provider::faults::Fault;

/// Chances in thousandths, drawn anew for each call or machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// A create call is refused for lack of room.
    pub no_capacity: u64,
    /// At most so many machines.
    pub quota: Option<usize>,
    /// A call has no effect and no answer.
    pub lost_request: u64,
    /// A call has its effect, but its answer is lost.
    pub lost_answer: u64,
    /// A call is refused with 500, without effect.
    pub error_500: u64,
    /// A call is refused with 429 and a time to wait, without effect.
    pub rate_limit: u64,
    /// A call hangs until its time-out, without effect.
    pub hangs: u64,
    /// A list lacks about half of what it should have.
    pub short_list: u64,
    /// Some creates get no answer and have their effect up to this time later.
    pub late_create: Duration,
    /// Some deletes have their effect up to this time later.
    pub late_delete: Duration,
    /// A boot takes up to this time longer.
    pub slow_boot: Duration,
    /// A new machine comes into lists only after up to this time.
    pub late_list: Duration,
    /// A machine never boots.
    pub boot_fails: u64,
    /// A machine disappears within its first two minutes.
    pub dies: u64,
    /// A machine stops within its first two minutes.
    pub stops: u64,
    /// A step ends with status 1.
    pub step_fails: u64,
    /// A connection drops while a step runs.
    pub drops: u64,
    /// The cloud knows no tokens: a repeated create makes a second machine.
    pub no_tokens: bool,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }
    /// These faults, and no others. There are no wires between these machines, so what is of networks is not there.
    pub fn of(faults: &[Fault]) -> Self {
        let mut all = Self::none();
        for fault in faults {
            match *fault {
                Fault::RateLimit(n) => all.rate_limit = n.into(),
                Fault::Error500(n) => all.error_500 = n.into(),
                Fault::DropBefore(n) => all.lost_request = n.into(),
                Fault::DropAfter(n) => all.lost_answer = n.into(),
                Fault::Hang(n) => all.hangs = n.into(),
                Fault::ShortList(n) => all.short_list = n.into(),
                Fault::LateList(most) => all.late_list = most,
                Fault::LateCreate(most) => all.late_create = most,
                Fault::LateDelete(most) => all.late_delete = most,
                Fault::NoCapacity(n) => all.no_capacity = n.into(),
                Fault::Quota(n) => all.quota = Some(n.into()),
                Fault::SlowBoot(most) => all.slow_boot = most,
                Fault::BootFailure(n) => all.boot_fails = n.into(),
                Fault::Dies(n) => all.dies = n.into(),
                Fault::Stops(n) => all.stops = n.into(),
                Fault::NoTokens => all.no_tokens = true,
                Fault::SlowNetwork(_) | Fault::DropPackets(_) => {}
            }
        }
        all
    }
    /// A bad day in a cloud: everything that may go wrong does now and then.
    pub fn bad_day() -> Self {
        Self {
            no_capacity: 100,
            lost_request: 80,
            lost_answer: 80,
            late_list: Duration::from_secs(6),
            boot_fails: 60,
            dies: 60,
            stops: 60,
            step_fails: 80,
            drops: 120,
            ..Self::none()
        }
    }
}
