//! The machines' insides: units that run once and keep their result, and a cluster that knows nodes.

use async_trait::async_trait;
use secrecy::SecretSlice;

use super::{CALL, Effect, REGISTER, STEP, World};
use crate::names::MachineName;
use crate::provider::MachineState;
use crate::remote::{Done, Job, Remote, RemoteError, Target};

/// What a world's script does, read back from its text.
enum Script {
    Step(String),
    Drain,
    Forget(MachineName),
}

fn read(script: &str) -> Script {
    let mut lines = script.lines();
    let first = lines.next().unwrap_or_default();
    let subject = first.strip_prefix("set -- ").and_then(|name| MachineName::new(name).ok());
    match (subject, lines.next()) {
        (Some(name), Some("forget")) => Script::Forget(name),
        (Some(_), Some("drain")) => Script::Drain,
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
            let cluster = target.machine.tags.cluster.clone();
            match read(&job.script) {
                _ if failed => {}
                Script::Step(step) if step.ends_with("/init") || step.ends_with("/join") => {
                    let ready = self.clock.after(REGISTER);
                    state.nodes.insert((cluster, target.name.clone()), ready);
                }
                Script::Forget(name) => {
                    state.nodes.remove(&(cluster, name));
                }
                Script::Step(_) | Script::Drain => {}
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
        if script != "nodes" {
            return Ok(SecretSlice::from(b"a secret".to_vec()));
        }
        let now = self.clock.now();
        let state = self.state();
        let cluster = &target.machine.tags.cluster;
        let runs = |name: &MachineName| {
            let is = |made: &&super::Made| {
                made.machine.tags.machine == *name && made.machine.tags.cluster == *cluster
            };
            let of_name = state.made.values().filter(is);
            of_name.clone().any(|made| made.machine.state == MachineState::Running && made.up_from <= now)
        };
        let line = |((_, name), ready): (&(_, MachineName), &jiff::Timestamp)| {
            let ready = *ready <= now && runs(name);
            serde_json::json!({"name": name, "ready": ready, "reason": "kubelet is silent"})
        };
        let lines: Vec<_> = state.nodes.iter().filter(|((of, _), _)| of == cluster).map(line).collect();
        Ok(SecretSlice::from(serde_json::Value::from(lines).to_string().into_bytes()))
    }
}
