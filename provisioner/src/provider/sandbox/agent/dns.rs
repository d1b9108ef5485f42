//! The name server on each gateway: the cluster's machines by name, all else from the host's resolvers.
//!
//! It answers at once in every case: a resolver that waits for a time-out makes each step of a recipe slow.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

use super::Agent;
use crate::names::ClusterId;

/// One resolver's chance; the stub in a machine gives up after 5 s.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer than any client thinks between two queries of one connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest datagram that EDNS clients announce in practice.
const DATAGRAM_MAX: usize = 4096;
/// Machines appear and vanish; a minute of memory would outlive them.
const TTL: u32 = 5;

const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const TYPE_A: u16 = 1;

/// A query's one question.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    name: String,
    kind: u16,
    /// Where the question ends in the message.
    end: usize,
}

/// The question of a query; `None` for what is no plain query of one name.
fn question(message: &[u8]) -> Option<Question> {
    let header = message.get(..12)?;
    let is_query = header[2] & 0xf8 == 0;
    if !is_query || header[4..6] != [0, 1] {
        return None;
    }
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..64 => labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase()),
            _ => return None,
        }
        at += length;
    }
    let kind = u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?);
    message.get(at + 2..at + 4)?;
    Some(Question { name: labels.join("."), kind, end: at + 4 })
}

/// An answer to a question: an address, or none, or a code.
fn answer(message: &[u8], question: &Question, code: u8, address: Option<Ipv4Addr>) -> Vec<u8> {
    let mut reply = message[..question.end].to_vec();
    // Response, authoritative, recursion available; the client's wish for recursion is repeated.
    reply[2] = 0x84 | message[2] & 0x01;
    reply[3] = 0x80 | code;
    reply[6..12].fill(0);
    if let Some(address) = address {
        reply[7] = 1;
        reply.extend([0xc0, 12, 0, 1, 0, 1]);
        reply.extend(TTL.to_be_bytes());
        reply.extend([0, 4]);
        reply.extend(address.octets());
    }
    reply
}

/// The host's resolvers from the text of `/etc/resolv.conf`.
fn resolvers(text: &str) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    addresses
        .filter_map(|word| word.trim().parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::new(ip, 53))
        .collect()
}

enum Answer {
    Ready(Vec<u8>),
    Ask(Question),
    Nothing,
}

impl Agent {
    /// Answers from what we know, or says that others must be asked.
    fn resolve(&self, cluster: &ClusterId, message: &[u8]) -> Answer {
        let Some(question) = question(message) else { return Answer::Nothing };
        let inner = self.inner();
        let mut own =
            inner.machines.values().filter(|live| live.listed() && &live.record.tags.cluster == cluster);
        if let Some(live) = own.find(|live| live.record.tags.machine.as_str() == question.name) {
            // The name has an address of version 4 only; "no data" for the rest, at once.
            let address = (question.kind == TYPE_A).then_some(live.record.address);
            return Answer::Ready(answer(message, &question, 0, address));
        }
        let internet = inner.clusters.get(cluster).is_some_and(|cluster| cluster.record.internet);
        // A name without a dot is a machine's or nobody's.
        if internet && question.name.contains('.') {
            Answer::Ask(question)
        } else {
            Answer::Ready(answer(message, &question, NXDOMAIN, None))
        }
    }

    async fn reply(&self, cluster: &ClusterId, message: &[u8], tcp: bool) -> Option<Vec<u8>> {
        match self.resolve(cluster, message) {
            Answer::Ready(reply) => Some(reply),
            Answer::Nothing => None,
            Answer::Ask(question) => {
                let text = tokio::fs::read_to_string("/etc/resolv.conf").await.unwrap_or_default();
                for resolver in resolvers(&text) {
                    let asked = async {
                        if tcp { ask_tcp(resolver, message).await } else { ask_udp(resolver, message).await }
                    };
                    if let Ok(Ok(reply)) = timeout(UPSTREAM_TIMEOUT, asked).await {
                        return Some(reply);
                    }
                }
                Some(answer(message, &question, SERVFAIL, None))
            }
        }
    }
}

async fn ask_udp(resolver: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: SocketAddr = if resolver.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    socket.send(message).await?;
    let mut reply = vec![0; DATAGRAM_MAX];
    let length = socket.recv(&mut reply).await?;
    reply.truncate(length);
    Ok(reply)
}

async fn ask_tcp(resolver: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    write_framed(&mut stream, message).await?;
    read_framed(&mut stream).await
}

async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await
}

async fn read_framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Answers datagrams until it is aborted.
pub(super) async fn serve_udp(agent: Arc<Agent>, cluster: ClusterId, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut buffer = [0; DATAGRAM_MAX];
    loop {
        // An error here is the echo of an answer that nobody took (ICMP); the next datagram is another matter.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let (agent, cluster, socket) = (Arc::clone(&agent), cluster.clone(), Arc::clone(&socket));
        let message = buffer[..length].to_vec();
        tokio::spawn(async move {
            if let Some(reply) = agent.reply(&cluster, &message, false).await {
                let _ = socket.send_to(&reply, peer).await;
            }
        });
    }
}

/// Answers connections until it is aborted.
pub(super) async fn serve_tcp(agent: Arc<Agent>, cluster: ClusterId, listener: TcpListener) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (agent, cluster) = (Arc::clone(&agent), cluster.clone());
        tokio::spawn(async move {
            while let Ok(Ok(message)) = timeout(IDLE_TIMEOUT, read_framed(&mut stream)).await {
                let Some(reply) = agent.reply(&cluster, &message, true).await else { break };
                if write_framed(&mut stream, &reply).await.is_err() {
                    break;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.as_bytes());
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        // An EDNS record behind the question, as glibc sends one.
        message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        message
    }

    #[test]
    fn a_question_is_read_and_answered_without_what_follows_it() {
        let message = query("Lab1-w-1", 1);
        let asked = question(&message).unwrap();
        assert_eq!((asked.name.as_str(), asked.kind), ("lab1-w-1", 1));
        let reply = answer(&message, &asked, 0, Some(Ipv4Addr::new(10, 213, 0, 2)));
        assert_eq!(reply[..12], [0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(reply[reply.len() - 16..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 213, 0, 2]);
        let no = answer(&message, &asked, NXDOMAIN, None);
        assert_eq!((no.len(), no[3]), (asked.end, 0x83));
    }

    #[test]
    fn what_is_no_plain_query_is_left_alone() {
        let mut response = query("a", 1);
        response[2] = 0x81;
        let mut pointer = query("a", 1);
        pointer[12] = 0xc0;
        for message in [&b""[..], &[0; 12], &query("a", 1)[..14], &response, &pointer] {
            assert_eq!(question(message), None);
        }
    }

    #[test]
    fn the_hosts_resolvers_are_found() {
        let text = "# x\nnameserver 10.0.0.1\n nameserver ::1\nsearch a\nnameserver bad\n";
        assert_eq!(resolvers(text), ["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
    }
}
