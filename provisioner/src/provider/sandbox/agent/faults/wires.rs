//! Faults of networks: rules and queues inside the hub, never in the host's own namespace.
//!
//! Lost packets and cuts are one nftables table for frames on the bridges; a slow network is a token bucket on the
//! hub's end of every machine's link, so that each machine receives no more than the rate. Both are made whole from
//! what should be, however often; a file says that something may be there, for an agent that comes after a crash.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use nix::net::if_::if_nameindex;

use super::super::super::machine::StepError;
use super::super::super::tree;
use super::super::super::wire::rejected;
use super::super::internet::load_rules;
use super::super::{Agent, failed};
use crate::provider::ProviderError;
use crate::provider::faults::Fault;

/// Bursts of this many bytes pass at once: the largest packet that a virtual link hands over.
const BURST: u64 = 64 << 10;
/// The kernel hands out new tokens at least this often in a second.
const TICKS: u64 = 100;

/// What is wrong with the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wires {
    /// Kilobits in a second that a machine receives.
    rate: Option<u32>,
    /// Thousandths of all packets that are lost.
    lost: u16,
    /// Hardware addresses that do not hear each other.
    cuts: Vec<[String; 2]>,
}

impl Wires {
    pub(super) fn of(words: &[Fault], cuts: Vec<[String; 2]>) -> Self {
        let mut wires = Self { cuts, ..Self::default() };
        for word in words {
            match word {
                Fault::SlowNetwork(rate) => wires.rate = Some(*rate),
                Fault::DropPackets(lost) => wires.lost = *lost,
                _ => {}
            }
        }
        wires
    }
    fn has_rules(&self) -> bool {
        self.lost > 0 || !self.cuts.is_empty()
    }

    /// The rules for `nft -f`: whatever was there before goes.
    fn rules(&self) -> String {
        let mut text = "table bridge continuum_faults\ndelete table bridge continuum_faults\n".to_owned();
        if !self.has_rules() {
            return text;
        }
        let (mut enter, mut leave) = (String::new(), String::new());
        for [a, b] in &self.cuts {
            for (from, to) in [(a, b), (b, a)] {
                let _ = writeln!(enter, "    ether saddr {from} ether daddr {to} drop");
            }
        }
        if self.lost > 0 {
            // A packet of a machine enters the bridge once, one of the hub itself leaves it once.
            // All of them need no chance, and nft takes no comparison that is always true.
            let some = format!("numgen random mod 1000 < {} ", self.lost);
            let which = if self.lost < 1000 { some.as_str() } else { "" };
            let _ = writeln!(enter, "    iifname \"v*\" {which}drop");
            let _ = writeln!(leave, "    oifname \"v*\" {which}drop");
        }
        let _ = write!(
            text,
            "table bridge continuum_faults {{\n  chain enter {{\n    type filter hook prerouting priority 0; policy accept;\n\
             {enter}  }}\n  chain leave {{\n    type filter hook output priority 0; policy accept;\n{leave}  }}\n}}\n"
        );
        text
    }

    /// Lines for `tc -batch`; `links` are the hub's, `slowed` those that have a queue of ours.
    fn queues(&self, links: &[String], slowed: &[String]) -> String {
        let mut text = String::new();
        let Some(rate) = self.rate else {
            for link in slowed {
                let _ = writeln!(text, "qdisc del dev {link} root");
            }
            return text;
        };
        let burst = BURST.max(u64::from(rate) * 1000 / 8 / TICKS);
        let queue = format!("root tbf rate {rate}kbit burst {burst} latency 400ms");
        // On the loopback it harms nobody, and tells whether this kernel can do it before there is a machine.
        let _ = write!(text, "qdisc replace dev lo {queue}\nqdisc del dev lo root\n");
        for link in links.iter().filter(|link| link.starts_with('v')) {
            let _ = writeln!(text, "qdisc replace dev {link} {queue}");
        }
        text
    }
}

/// Makes the hub so. Nothing is run where nothing is to be done and nothing was.
pub(super) async fn apply(agent: &Agent, wires: Wires) -> Result<(), ProviderError> {
    let mark = agent.paths.run.join("faulty-network");
    let nothing = wires == Wires::default();
    if nothing && !mark.exists() {
        return Ok(());
    }
    fs::write(&mark, "").map_err(StepError::at(format!("write {}", mark.display()))).map_err(failed)?;
    let tree = tree::ready(&agent.paths);
    if tree.is_none() && wires.has_rules() {
        let words = "drop-packets and cuts are rules of nftables, which is in the Debian tree, and that is not there yet";
        return Err(rejected(format!("{words}: make it with continuum sandbox tree")));
    }
    let made = agent.hub.run(move || {
        if let Some(tree) = tree {
            match load_rules(&tree, &wires.rules()) {
                Err(error) if wires.has_rules() => return Err(without_rules(&error)),
                // A kernel without such rules has none that would have to go.
                _ => {}
            }
        }
        queue(&wires)
    });
    made.await.map_err(StepError::at("enter the hub")).map_err(failed)??;
    if nothing {
        let _ = fs::remove_file(&mark);
    }
    Ok(())
}

fn without_rules(error: &StepError) -> ProviderError {
    rejected(format!(
        "drop-packets and cuts need nftables for bridges with random numbers (CONFIG_NF_TABLES_BRIDGE, CONFIG_NFT_NUMGEN), which \
         this computer's kernel did not take: {}",
        error.source
    ))
}

fn queue(wires: &Wires) -> Result<(), ProviderError> {
    let links = if_nameindex().map_err(StepError::at("list the hub's devices")).map_err(failed)?;
    let links: Vec<String> = links.iter().map(|link| link.name().to_string_lossy().into_owned()).collect();
    // Only what was slowed before, or is to be, needs the tool.
    let (shown, _) = tc(&["qdisc", "show"], "")?;
    let text = wires.queues(&links, &slowed(&shown));
    if text.is_empty() {
        return Ok(());
    }
    let (_, errors) = tc(&["-force", "-batch", "-"], &text)?;
    verdict(&errors)
}

/// The devices with a token bucket, from `tc qdisc show`.
fn slowed(shown: &str) -> Vec<String> {
    let ours = shown.lines().filter(|line| line.starts_with("qdisc tbf "));
    ours.filter_map(|line| line.split(" dev ").nth(1)?.split(' ').next().map(str::to_owned)).collect()
}

/// What `tc -force` said on stderr: a link that went away meanwhile is no error.
fn verdict(errors: &str) -> Result<(), ProviderError> {
    let counts = |line: &&str| {
        !line.contains("Cannot find device") && !line.starts_with("Command failed") && !line.trim().is_empty()
    };
    match errors.lines().find(counts) {
        None => Ok(()),
        Some(line) if line.contains("kind is unknown") => Err(rejected(
            "slow-network: this computer's kernel has no token bucket filter (CONFIG_NET_SCH_TBF), so networks cannot be slow here",
        )),
        Some(line) => Err(rejected(format!("slow-network: {}", line.trim()))),
    }
}

/// Runs `tc` in this thread's network namespace: what it printed, and what it said of errors.
fn tc(args: &[&str], input: &str) -> Result<(String, String), ProviderError> {
    let run = || -> io::Result<(String, String)> {
        let mut child = Command::new("tc")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&output.stdout), text(&output.stderr)))
    };
    run().map_err(StepError::at("run tc (package iproute2)")).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_remade_whole_and_go_with_the_faults() {
        let none = Wires::default().rules();
        assert_eq!(none, "table bridge continuum_faults\ndelete table bridge continuum_faults\n");
        let cuts = vec![["02:53:0a:d5:00:02".to_owned(), "02:53:0a:d5:00:03".to_owned()]];
        let text = Wires::of(&[Fault::DropPackets(20), Fault::Hang(1)], cuts).rules();
        assert!(text.starts_with(&none), "{text}");
        for line in [
            "    ether saddr 02:53:0a:d5:00:02 ether daddr 02:53:0a:d5:00:03 drop\n",
            "    ether saddr 02:53:0a:d5:00:03 ether daddr 02:53:0a:d5:00:02 drop\n",
            "    iifname \"v*\" numgen random mod 1000 < 20 drop\n",
            "    oifname \"v*\" numgen random mod 1000 < 20 drop\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        let all = Wires::of(&[Fault::DropPackets(1000)], Vec::new()).rules();
        assert!(all.contains("    iifname \"v*\" drop\n") && !all.contains("numgen"), "{all}");
    }

    #[test]
    fn queues_are_on_machines_links_alone_and_are_taken_off_where_they_are() {
        let links = ["lo", "br0", "tap0", "v0002-1", "v0003-7"].map(str::to_owned);
        let slow = Wires::of(&[Fault::SlowNetwork(20_000)], Vec::new());
        let queue = "root tbf rate 20000kbit burst 65536 latency 400ms";
        let expected = format!(
            "qdisc replace dev lo {queue}\nqdisc del dev lo root\nqdisc replace dev v0002-1 {queue}\nqdisc replace dev v0003-7 {queue}\n"
        );
        assert_eq!(slow.queues(&links, &[]), expected);
        let fast = Wires::of(&[Fault::SlowNetwork(1_000_000)], Vec::new());
        assert!(fast.queues(&[], &[]).contains("burst 1250000 "));
        let shown = "qdisc noqueue 0: dev lo root refcnt 2 \nqdisc tbf 8001: dev v0002-1 root refcnt 3 rate 20Mbit burst 64Kb lat 400ms \n";
        assert_eq!(Wires::default().queues(&links, &slowed(shown)), "qdisc del dev v0002-1 root\n");
        assert_eq!(Wires::default().queues(&links, &[]), "");
    }

    #[test]
    fn a_kernel_that_cannot_is_named_and_a_link_that_went_away_is_not() {
        assert_eq!(verdict("Cannot find device \"v0002-1\"\nCommand failed -:3\n"), Ok(()));
        let error = verdict("Error: Specified qdisc kind is unknown.\nCommand failed -:1\n").unwrap_err();
        assert!(error.to_string().contains("kernel has no token bucket filter"), "{error}");
        assert!(verdict("Error: no\n").unwrap_err().to_string().ends_with("slow-network: Error: no"));
    }
}
