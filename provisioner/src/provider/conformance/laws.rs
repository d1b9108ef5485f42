//! The laws themselves, one function each, in the order of the trait's methods.

use std::collections::BTreeSet;

use super::{Law, Trial, Verdict, holds, wrong};
use crate::names::MachineId;
use crate::provider::{Demand, MachineState, ProviderError, Scope};
use crate::spec::Network;

macro_rules! laws {
    ($($sentence:literal => $check:ident,)*) => {
        /// Every law, in the order of the trait's methods.
        pub const LAWS: &[Law] =
            &[$(Law { sentence: $sentence, check: |trial| Box::pin($check(trial)) },)*];
    };
}

laws! {
    "a cloud is always the same cloud" => same_cloud,
    "a check of nothing finds nothing, and makes nothing" => check_makes_nothing,
    "a scaffold is made once, and found by its cluster's id" => scaffold_once,
    "looking for a scaffold makes none" => finding_makes_none,
    "the same token makes one machine" => same_token,
    "another token makes another machine" => other_token,
    "a token with another request is refused for good" => changed_request,
    "a machine carries every tag from the first list on" => every_tag,
    "a machine has the shape that was asked for" => shape_as_asked,
    "a machine runs in time, with an address of its own" => runs_with_address,
    "a list of a cluster shows no other cluster's machines" => only_in_scope,
    "a list of a cluster shows a cluster of the same name under another id" => clash_is_seen,
    "a list of all shows everything of ours" => all_shows_all,
    "what is listed exists" => listed_exists,
    "what never was does not exist" => unknown_exists_not,
    "starting what runs changes nothing" => start_running,
    "starting what is not there is refused" => start_missing,
    "what is deleted goes from the list, and does not exist" => deleted_goes,
    "deleting what is gone is fine" => delete_twice,
    "deleting what never was is fine" => delete_unknown,
    "deleting one machine leaves the others" => delete_one,
    "a deleted machine's token makes a machine again" => token_after_delete,
    "a sweep takes no machine, and names what holds the rest" => sweep_names_blocker,
    "a sweep of an empty cluster leaves nothing" => sweep_leaves_nothing,
    "a sweep leaves other clusters alone" => sweep_only_ours,
    "a sweep of what never was finds nothing" => sweep_unknown,
    "no two shapes have one name" => shapes_differ,
}

async fn same_cloud(trial: &Trial<'_>) -> Verdict {
    let first = trial.call("cloud", async || trial.cloud().cloud().await).await?;
    let cluster = trial.first()?;
    let scaffold = trial.scaffold(&cluster).await?;
    trial.make(&trial.request(&cluster, 1)).await?;
    let second = trial.call("cloud", async || trial.cloud().cloud().await).await?;
    holds(first == second && scaffold.cloud == first, || format!("{first}, {second}, {}", scaffold.cloud))
}

async fn check_makes_nothing(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    let Some(name) = cluster.name() else { return wrong("no name") };
    let network = Network { internet: false, expose: Vec::new() };
    let demand = Demand { cluster: name, network, machines: Vec::new() };
    let problems = trial.call("check", async || trial.cloud().check(&demand).await).await?;
    holds(problems.is_empty(), || format!("{problems:?}"))?;
    holds(!trial.has_scaffold(&cluster).await?, || "a check made a scaffold".into())
}

async fn scaffold_once(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    let (first, second) = (trial.scaffold(&cluster).await?, trial.scaffold(&cluster).await?);
    let found = trial.call("find scaffold", async || trial.cloud().find_scaffold(&cluster).await).await?;
    holds(first == second && found.as_ref() == Some(&first), || format!("{first:?} {second:?} {found:?}"))?;
    holds(first.cluster == cluster, || format!("it is of {}", first.cluster))
}

async fn finding_makes_none(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    let found = (trial.has_scaffold(&cluster).await?, trial.has_scaffold(&cluster).await?);
    holds(found == (false, false), || format!("{found:?}"))
}

async fn same_token(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let request = trial.request(&cluster, 1);
    let machine = trial.make(&request).await?;
    trial.create(&request).await?;
    trial.create(&request).await?;
    trial.bed.wait(trial.cloud().settle()).await;
    let listed = trial.of(&cluster).await?;
    holds(listed.iter().all(|other| other.id == machine.id), || format!("{} machines", listed.len()))
}

async fn other_token(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let first = trial.make(&trial.request(&cluster, 1)).await?;
    let second = trial.make(&trial.request(&cluster, 2)).await?;
    holds(first.id != second.id, || format!("both are {}", first.id))
}

async fn changed_request(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let request = trial.request(&cluster, 1);
    trial.make(&request).await?;
    let mut changed = trial.request(&cluster, 2);
    changed.token.clone_from(&request.token);
    for _ in 0..super::TRIES {
        match trial.cloud().create(&changed).await {
            Err(ProviderError::Rejected { .. }) => return Ok(()),
            Err(ProviderError::Unavailable { .. }) => trial.bed.wait(super::PAUSE).await,
            other => return wrong(format!("{other:?}")),
        }
    }
    wrong("it was never answered")
}

async fn every_tag(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let request = trial.request(&cluster, 1);
    trial.create(&request).await?;
    let machine = trial.make(&request).await?;
    holds(machine.tags == request.tags, || format!("{:?} for {:?}", machine.tags, request.tags))
}

async fn shape_as_asked(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let request = trial.request(&cluster, 1);
    let machine = trial.make(&request).await?;
    holds(machine.shape == request.shape, || format!("{:?}", machine.shape))
}

async fn runs_with_address(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let first = trial.runs(&trial.request(&cluster, 1)).await?;
    let second = trial.runs(&trial.request(&cluster, 2)).await?;
    let differ = first.address.is_some() && second.address.is_some() && first.address != second.address;
    holds(differ, || format!("{:?} and {:?}", first.address, second.address))
}

async fn only_in_scope(trial: &Trial<'_>) -> Verdict {
    let (a, b) = (trial.first()?, trial.cluster("b", "1")?);
    for cluster in [&a, &b] {
        trial.scaffold(cluster).await?;
        trial.make(&trial.request(cluster, 1)).await?;
    }
    let Some(name) = a.name() else { return wrong("no name") };
    let listed = trial.list(&Scope::Cluster { name, id: Some(a.clone()) }).await?;
    holds(listed.iter().all(|machine| machine.tags.cluster == a), || format!("{listed:?}"))
}

async fn clash_is_seen(trial: &Trial<'_>) -> Verdict {
    let (first, second) = (trial.first()?, trial.cluster("a", "2")?);
    for cluster in [&first, &second] {
        trial.scaffold(cluster).await?;
        trial.make(&trial.request(cluster, 1)).await?;
    }
    let Some(name) = first.name() else { return wrong("no name") };
    let both = BTreeSet::from([&first, &second]);
    for id in [Some(first.clone()), None] {
        let scope = Scope::Cluster { name: name.clone(), id };
        trial
            .until("both ids are listed", async || {
                let listed = trial.list(&scope).await?;
                Ok(listed.iter().map(|machine| &machine.tags.cluster).collect::<BTreeSet<_>>() == both)
            })
            .await?;
    }
    Ok(())
}

async fn all_shows_all(trial: &Trial<'_>) -> Verdict {
    let (a, b) = (trial.first()?, trial.cluster("b", "1")?);
    let mut made = Vec::new();
    for cluster in [&a, &b] {
        trial.scaffold(cluster).await?;
        made.push(trial.make(&trial.request(cluster, 1)).await?.id);
    }
    trial
        .until("both machines are listed", async || {
            let listed = trial.list(&Scope::All).await?;
            Ok(made.iter().all(|id| listed.iter().any(|machine| machine.id == *id)))
        })
        .await
}

async fn listed_exists(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let machine = trial.make(&trial.request(&cluster, 1)).await?;
    holds(trial.exists(&machine.id).await?, || format!("{} does not", machine.id))
}

fn never() -> MachineId {
    MachineId::from("0000000000000000")
}

async fn unknown_exists_not(trial: &Trial<'_>) -> Verdict {
    holds(!trial.exists(&never()).await?, || "it does".into())
}

async fn start_running(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let request = trial.request(&cluster, 1);
    let before = trial.runs(&request).await?;
    trial.call("start", async || trial.cloud().start(&before.id).await).await?;
    let after = trial.until_listed(&request).await?;
    holds(after.id == before.id && after.state == MachineState::Running, || format!("{after:?}"))
}

async fn start_missing(trial: &Trial<'_>) -> Verdict {
    for _ in 0..super::TRIES {
        match trial.cloud().start(&never()).await {
            Err(ProviderError::Rejected { .. }) => return Ok(()),
            Err(ProviderError::Unavailable { .. }) => trial.bed.wait(super::PAUSE).await,
            other => return wrong(format!("{other:?}")),
        }
    }
    wrong("it was never answered")
}

async fn deleted_goes(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let machine = trial.make(&trial.request(&cluster, 1)).await?;
    trial.remove(&machine.id).await?;
    let listed = trial.of(&cluster).await?;
    holds(listed.is_empty(), || format!("{} is still listed", machine.id))?;
    trial.bed.wait(trial.cloud().settle()).await;
    holds(trial.of(&cluster).await?.is_empty(), || format!("{} came back", machine.id))
}

async fn delete_twice(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let machine = trial.make(&trial.request(&cluster, 1)).await?;
    trial.remove(&machine.id).await?;
    trial.remove(&machine.id).await
}

async fn delete_unknown(trial: &Trial<'_>) -> Verdict {
    trial.remove(&never()).await
}

async fn delete_one(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let first = trial.make(&trial.request(&cluster, 1)).await?;
    let second = trial.make(&trial.request(&cluster, 2)).await?;
    trial.remove(&first.id).await?;
    holds(trial.exists(&second.id).await?, || format!("{} went too", second.id))
}

async fn token_after_delete(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let request = trial.request(&cluster, 1);
    let first = trial.make(&request).await?;
    trial.remove(&first.id).await?;
    let second = trial.make(&request).await?;
    holds(second.id != first.id, || format!("{} is used again", first.id))
}

async fn sweep_names_blocker(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let machine = trial.make(&trial.request(&cluster, 1)).await?;
    let left = trial.call("sweep", async || trial.cloud().sweep(&cluster).await).await?;
    let named = left.iter().any(|left| left.blocker.contains(machine.id.as_str()));
    holds(named, || format!("{left:?} does not name {}", machine.id))?;
    holds(trial.exists(&machine.id).await?, || "the machine was swept".into())?;
    holds(trial.has_scaffold(&cluster).await?, || "the ground was swept from under it".into())
}

async fn sweep_leaves_nothing(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    trial.scaffold(&cluster).await?;
    let left = trial.call("sweep", async || trial.cloud().sweep(&cluster).await).await?;
    holds(left.is_empty(), || format!("{left:?}"))?;
    holds(!trial.has_scaffold(&cluster).await?, || "the scaffold is still there".into())
}

async fn sweep_only_ours(trial: &Trial<'_>) -> Verdict {
    let (first, second) = (trial.first()?, trial.cluster("a", "2")?);
    trial.scaffold(&first).await?;
    trial.scaffold(&second).await?;
    trial.call("sweep", async || trial.cloud().sweep(&first).await).await?;
    holds(trial.has_scaffold(&second).await?, || format!("{second} was swept with {first}"))
}

async fn sweep_unknown(trial: &Trial<'_>) -> Verdict {
    let cluster = trial.first()?;
    let left = trial.call("sweep", async || trial.cloud().sweep(&cluster).await).await?;
    holds(left.is_empty(), || format!("{left:?}"))
}

async fn shapes_differ(trial: &Trial<'_>) -> Verdict {
    let shapes = trial.call("shapes", async || trial.cloud().shapes().await).await?;
    let names: BTreeSet<_> = shapes.iter().map(|shape| &shape.name).collect();
    holds(names.len() == shapes.len(), || format!("{shapes:?}"))
}
