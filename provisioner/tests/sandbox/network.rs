//! Who reaches whom: machines each other, the gateway, the host's loopback, the outside.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

use provisioner::provider::Provider;
use provisioner::provider::sandbox::wire::Access;
use provisioner::spec::Network;

use super::harness::{cluster, lab, request};

#[tokio::test(flavor = "multi_thread")]
async fn machines_of_a_cluster_reach_each_other_by_name_and_no_other_cluster() {
    let Some(lab) = lab("reach").await else { return };
    let network = Network { internet: false, expose: Vec::new() };
    lab.cloud.scaffold(&cluster("b"), &network).await.unwrap();
    let (one, two, other) = (request("a", 1), request("a", 2), request("b", 1));
    let (one, two, other) = tokio::join!(lab.make(&one), lab.make(&two), lab.make(&other));
    let address = format!("{}\n", two.address.unwrap());
    assert_eq!(lab.inside(&one, "getent ahostsv4 a-w-2 | head -1 | cut -d' ' -f1"), address);
    let connect =
        |host: &str| format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{host}/22; head -c 3 <&3' || echo closed");
    assert_eq!(lab.inside(&one, &connect("a-w-2")), "SSH");
    assert_eq!(
        lab.inside(&one, &connect(&other.address.unwrap().to_string())).lines().last(),
        Some("closed")
    );
    // Without a way to the outside a name gets its answer at once.
    let script = "date +%s%N; getent hosts example.org; date +%s%N";
    let times: Vec<u64> = lab.inside(&one, script).lines().map(|line| line.parse().unwrap()).collect();
    assert!(times[1] - times[0] < 1_000_000_000, "{times:?}");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exposed_port_is_reached_on_the_hosts_loopback() {
    let Some(lab) = lab("expose").await else { return };
    let mut wanted = request("a", 1);
    wanted.expose = vec![22];
    let machine = lab.make(&wanted).await;
    let local = machine.exposed[&22];
    assert!(local.ip().is_loopback());
    let banner = tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 7];
        TcpStream::connect(local).unwrap().read_exact(&mut buffer).unwrap();
        buffer
    });
    assert_eq!(&banner.await.unwrap(), b"SSH-2.0");
    lab.cloud.stop(&machine.id).await.unwrap();
    lab.cloud.start(&machine.id).await.unwrap();
    assert_eq!(lab.running(&machine.id).await.exposed[&22], local);
    lab.close().await;
}

/// A cut connection with something left to send keeps a machine's network namespace for minutes after its end.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_used_again_while_the_network_of_its_last_machine_lives_on() {
    let Some(lab) = lab("again").await else { return };
    let one = lab.make(&request("a", 1)).await;
    let held = std::fs::File::open(format!("/proc/{}/ns/net", lab.pid1(&one))).unwrap();
    lab.cloud.delete(&one.id).await.unwrap();
    lab.wait(|all| all.is_empty().then_some(())).await;
    let two = lab.make(&request("a", 2)).await;
    assert_eq!(two.address, one.address);
    assert!(lab.banner(&two).await.starts_with("SSH-2.0"));
    drop(held);
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clusters_token_opens_its_own_cluster_at_the_gateway_and_no_other() {
    let Some(lab) = lab("gateway").await else { return };
    let network = Network { internet: false, expose: Vec::new() };
    lab.cloud.scaffold(&cluster("b"), &network).await.unwrap();
    let (one, two) = (request("a", 1), request("b", 1));
    let (one, two) = tokio::join!(lab.make(&one), lab.make(&two));
    let Access { address, fingerprint, token } = lab.cloud.access(&cluster("a")).await.unwrap();
    let ask = |path: &str, token: &str| {
        format!(
            "curl -sk -w ' %{{http_code}}' -H 'Authorization: Bearer {token}' https://{address}/v1/{path}"
        )
    };
    let seen = lab.inside(&one, &ask("machines", &token));
    assert!(seen.contains("a-w-1") && !seen.contains("b-w-1") && seen.ends_with(" 200"), "{seen}");
    assert!(lab.inside(&one, &ask("machines", "wrong")).ends_with(" 401"));
    assert!(lab.inside(&one, &ask("clusters/b-00000000/access", &token)).ends_with(" 403"));
    assert!(lab.inside(&one, &ask("status", &token)).ends_with(" 403"));
    let admin = std::fs::read_to_string(lab.paths.token()).unwrap();
    assert!(lab.inside(&one, &ask("machines", &admin)).ends_with(" 401"));
    // Whatever is done to a machine of another cluster is refused, or done to nobody.
    for (method, path, status) in [
        ("GET", format!("machines/{}", two.id), 404),
        ("GET", format!("machines/{}/console", two.id), 404),
        ("GET", format!("machines/{}/dial/22", two.id), 403),
        ("POST", format!("machines/{}/start", two.id), 404),
        ("POST", format!("machines/{}/stop", two.id), 403),
        ("POST", format!("machines/{}/stop", one.id), 403),
        ("DELETE", format!("machines/{}", two.id), 204),
        ("DELETE", "clusters/b-00000000".to_owned(), 403),
        ("POST", "stop".to_owned(), 415),
    ] {
        let said = lab.inside(&one, &ask(&path, &token).replace("-sk", &format!("-sk -X {method}")));
        assert!(said.ends_with(&format!(" {status}")), "{method} {path}: {said}");
    }
    assert_eq!(lab.running(&two.id).await, two);
    let script = format!(
        "openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -outform der | sha256sum | cut -d' ' -f1"
    );
    assert_eq!(lab.inside(&one, &script).trim(), fingerprint);
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_reach_the_outside_where_the_cluster_says_so_and_the_host_keeps_its_network() {
    let Some(lab) = lab("outside").await else { return };
    if provisioner::provider::sandbox::start::missing_commands(false, true)
        .iter()
        .any(|p| p.what.contains("slirp"))
    {
        println!("skipped: slirp4netns is not installed");
        return lab.close().await;
    }
    let state = |path: &str| std::fs::read_to_string(path).unwrap();
    let devices = || {
        state("/proc/net/dev")
            .lines()
            .filter_map(|l| l.split_once(':').map(|p| p.0.trim().to_owned()))
            .collect::<Vec<_>>()
    };
    let before = (state("/proc/net/route"), devices());
    lab.cloud.scaffold(&cluster("b"), &Network { internet: true, expose: Vec::new() }).await.unwrap();
    let (inside, outside) = (request("a", 1), request("b", 1));
    let (inside, outside) = tokio::join!(lab.make(&inside), lab.make(&outside));
    // A server of ours stands for the outside: an address of the host that is not loopback, asked of its own kernel.
    let Some(address) = own_address() else {
        println!("skipped: this computer has no address but loopback");
        return lab.close().await;
    };
    let server = Arc::new(std::net::TcpListener::bind((address, 0)).unwrap());
    let port = server.local_addr().unwrap().port();
    let accepting = Arc::clone(&server);
    let served = tokio::task::spawn_blocking(move || accepting.accept().map(|_| ()));
    let script = format!(
        "timeout 5 bash -c 'exec 3<>/dev/tcp/{address}/{port} && echo through' 2>/dev/null || echo closed"
    );
    assert_eq!(lab.inside(&inside, &script), "closed\n");
    assert_eq!(lab.inside(&outside, &script), "through\n");
    served.await.unwrap().unwrap();
    assert_eq!((state("/proc/net/route"), devices()), before);
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "asks the real outside: part of the long tests"]
async fn names_of_the_outside_are_resolved_by_the_hosts_resolvers() {
    let Some(lab) = lab("names").await else { return };
    lab.cloud.scaffold(&cluster("b"), &Network { internet: true, expose: Vec::new() }).await.unwrap();
    let machine = lab.make(&request("b", 1)).await;
    println!("{}", lab.inside(&machine, "getent ahostsv4 deb.debian.org; apt-get update -q 2>&1 | tail -3"));
    assert_ne!(lab.inside(&machine, "getent hosts deb.debian.org || true"), "");
    lab.close().await;
}

/// The address that this computer would send from; nothing is sent.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}
