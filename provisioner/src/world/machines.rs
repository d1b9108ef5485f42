//! The machines' insides: units that run once and keep their result, and a cluster that knows nodes.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretSlice;

use super::{CALL, Effect, REGISTER, Registered, STEP, State, World};
use crate::names::{ClusterId, MachineName};
use crate::provider::MachineState;
use crate::remote::{Done, Job, Remote, RemoteError, Target};

/// What a world's script does, read back from its text.
enum Script {
    Step(String),
    Drain(MachineName),
    Uncordon(MachineName),
    Forget(MachineName),
}

fn read(script: &str) -> Script {
    let mut lines = script.lines();
    let first = lines.next().unwrap_or_default();
    let subject = first.strip_prefix("set -- ").and_then(|name| MachineName::new(name).ok());
    match (subject, lines.last()) {
        (Some(name), Some("forget")) => Script::Forget(name),
        (Some(name), Some("drain")) => Script::Drain(name),
        (Some(name), Some("uncordon")) => Script::Uncordon(name),
        _ => Script::Step(first.to_owned()),
    }
}

impl World {
    /// Whether the machine is up and reachable now.
    fn up(&self, target: &Target) -> Result<(), RemoteError> {
        let now = self.clock.now();
        let mut state = self.state();
        state.fates(now);
        let made = state.made.get(&target.machine.id);
        match made {
            Some(made) if made.machine.state == MachineState::Running && made.up_from <= now => Ok(()),
            _ => Err(RemoteError::NotUp(format!("{}: connection refused", target.name))),
        }
    }
}

impl State {
    /// What a script that ended well has done to the cluster of its machine.
    fn effect(&mut self, script: Script, target: &Target, ready: Timestamp) {
        let cluster = &target.machine.tags.cluster;
        match script {
            Script::Step(step) if step.ends_with("/init") || step.ends_with("/join") => {
                if step.ends_with("/init") {
                    // A new control plane knows nobody.
                    self.nodes.retain(|(of, _), _| of != cluster);
                }
                let boot = self.made.get(&target.machine.id).map_or(0, |made| made.boots);
                let node = Registered { ready, boot, cordoned: false };
                self.nodes.insert((cluster.clone(), target.name.clone()), node);
            }
            Script::Forget(name) => {
                self.nodes.remove(&(cluster.clone(), name));
            }
            Script::Drain(name) => self.cordon(cluster, name, true),
            Script::Uncordon(name) => self.cordon(cluster, name, false),
            Script::Step(_) => {}
        }
    }

    fn cordon(&mut self, cluster: &ClusterId, name: MachineName, cordoned: bool) {
        if let Some(node) = self.nodes.get_mut(&(cluster.clone(), name)) {
            node.cordoned = cordoned;
        }
    }

    /// The nodes of a cluster as a list. A kubelet reports a while after its machine is up; until then the cluster
    /// believes what it heard before.
    fn report(&mut self, cluster: &ClusterId, now: Timestamp) -> String {
        let mut lines = Vec::new();
        for ((_, name), node) in self.nodes.iter_mut().filter(|((of, _), _)| of == cluster) {
            let runs = |made: &&super::Made| {
                made.machine.tags.machine == *name
                    && made.machine.tags.cluster == *cluster
                    && made.machine.state == MachineState::Running
                    && made.up_from <= now
            };
            let running = self.made.values().find(runs);
            if let Some(made) = running.filter(|made| now.duration_since(made.up_from) >= reports_after()) {
                node.boot = made.boots;
            }
            let ready = node.ready <= now && running.is_some();
            lines.push(serde_json::json!({
                "name": name, "ready": ready, "reason": "kubelet is silent", "boot": node.boot.to_string(),
            }));
        }
        serde_json::Value::from(lines).to_string()
    }
}

fn reports_after() -> SignedDuration {
    SignedDuration::try_from(REGISTER).unwrap_or(SignedDuration::ZERO)
}

#[async_trait]
impl Remote for World {
    async fn run(&self, target: &Target, job: &Job) -> Result<Done, RemoteError> {
        self.point().await;
        self.up(target)?;
        let key = (target.machine.id.clone(), job.unit.clone());
        if let Some(kept) = self.state().units.get(&key) {
            return Ok(kept.clone());
        }
        self.clock.sleep(STEP).await;
        self.up(target).map_err(|_| RemoteError::Dropped("the machine went away".into()))?;
        let done = {
            let mut state = self.state();
            let fails = state.faults.step_fails;
            let failed = state.random.chance(fails);
            state.log.push((target.name.clone(), job.unit.clone()));
            let now = self.clock.now();
            state.told(now, Effect::Ran(&target.machine, &job.unit));
            let tail = if failed { vec!["something went wrong".to_owned()] } else { Vec::new() };
            let done = Done { status: i32::from(failed), changed: true, tail };
            state.units.insert(key, done.clone());
            if !failed {
                state.effect(read(&job.script), target, self.clock.after(REGISTER));
            }
            done
        };
        self.point().await;
        let dropped = {
            let mut state = self.state();
            let drops = state.faults.drops;
            state.random.chance(drops)
        };
        if dropped { Err(RemoteError::Dropped("connection reset".into())) } else { Ok(done) }
    }

    async fn ask(&self, target: &Target, script: &str) -> Result<SecretSlice<u8>, RemoteError> {
        self.point().await;
        self.clock.sleep(CALL).await;
        self.up(target)?;
        self.state().asked.push((target.name.clone(), script.to_owned()));
        let now = self.clock.now();
        let mut state = self.state();
        let answer = match script {
            "nodes" => state.report(&target.machine.tags.cluster, now),
            "cat /proc/sys/kernel/random/boot_id" => state
                .made
                .get(&target.machine.id)
                .map_or_else(String::new, |made| format!("{}\n", made.boots)),
            _ => "a secret".to_owned(),
        };
        Ok(SecretSlice::from(answer.into_bytes()))
    }
}
