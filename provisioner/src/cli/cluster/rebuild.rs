//! `cluster up --rebuild-front-end`: a person gives up a front-end that is lost.
//!
//! The run is that of every `up`, to its end. Only if it stops because the front-end is lost is a person asked, with the
//! evidence at hand; the answer is about that machine alone.

use tokio_util::sync::CancellationToken;

use super::confirm;
use super::up::obstacles;
use crate::cli::exit::{Exit, Failure};
use crate::cluster::up::Up;
use crate::reconcile::Ended;
use crate::report::Reporter;

/// Everything that goes with the last front-end.
const LOST: &str = "lost with it, whatever becomes of it: every Kubernetes object and all that etcd held, the certificates \
                    and tokens, and every workload on every worker, since each worker is replaced";

/// Runs `up`, and once more after a person gave up the front-end that the first run stopped at.
pub(super) async fn run(
    up: &mut Up,
    yes: bool,
    reporter: &Reporter,
    cancel: &CancellationToken,
) -> Result<Ended, Failure> {
    let stop = match up.run(cancel).await? {
        Ended::Stopped(stop) => stop,
        ended => {
            if ended == Ended::Settled {
                reporter.say("the front-end is well: nothing to rebuild");
            }
            return Ok(ended);
        }
    };
    let Some((name, what)) = up.lost_front_end(&stop) else { return Ok(Ended::Stopped(stop)) };
    // Live lines would draw over the question.
    reporter.end();
    up.give_up_front_end(name.clone());
    let outlook = up.outlook().await?;
    obstacles(&outlook)?;
    reporter.say(&format!("rebuilding: front-end {name} is given up ({what})"));
    reporter.say(LOST);
    for line in &outlook.lines {
        reporter.say(&format!("  {line}"));
    }
    if !yes && !confirm("give all of that up and make the cluster anew?")? {
        return Err(Failure::say(Exit::Interrupted, "nothing was given up"));
    }
    Ok(up.run(cancel).await?)
}
