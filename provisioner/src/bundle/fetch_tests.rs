use super::super::http_double::{Answer, Server};
use super::super::store::hash_bytes;
use super::*;

struct Lab {
    _dir: tempfile::TempDir,
    store: Store,
}

fn lab() -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    Lab { _dir: dir, store }
}

fn fetcher() -> Fetcher<'static> {
    Fetcher::new(&|_| {}).unwrap().impatient()
}

fn get(server: &Server, content: &[u8], limit: u64) -> Result<Vec<u8>, String> {
    let lab = lab();
    let url = format!("http://{}/file", server.host);
    let request = Request { url: &url, ..Request::default() };
    let got = fetcher().blob(request, &hash_bytes(content), limit, &lab.store);
    got.map(|blob| std::fs::read(blob.path).unwrap())
        .map_err(|error| error.to_string().replace(&server.host, "HOST"))
}

#[test]
fn a_download_that_breaks_goes_on_where_it_stopped() {
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let whole = content.clone();
    let server = Server::start(move |asked, times| {
        let from = asked.from.unwrap_or(0);
        assert_eq!(from > 0, times > 1, "only the first request begins at the beginning");
        let body = whole[from..].to_vec();
        let cut = (times < 3).then_some(body.len() / 2);
        Answer { status: if from > 0 { 206 } else { 200 }, cut, ..Answer::ok(body) }
    });
    assert_eq!(get(&server, &content, 1 << 20), Ok(content.clone()));
    assert_eq!(server.log().len(), 3);
}

#[test]
fn a_server_without_ranges_is_asked_for_all_of_it_again() {
    let server = Server::start(|_, times| Answer { cut: (times == 1).then_some(3), ..Answer::ok("content") });
    assert_eq!(get(&server, b"content", 100), Ok(b"content".to_vec()));
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let cases = [
        (503, ATTEMPTS as usize, "http://HOST/file: the server answered 503"),
        (429, ATTEMPTS as usize, "http://HOST/file: the server answered 429"),
        (404, 1, "http://HOST/file: the server answered 404"),
        (403, 1, "http://HOST/file: the server answered 403"),
    ];
    for (status, requests, why) in cases {
        let server = Server::start(move |_, _| Answer::status(status));
        assert_eq!((get(&server, b"", 100), server.log().len()), (Err(why.to_owned()), requests));
    }
    let server =
        Server::start(|_, times| if times < 3 { Answer::status(500) } else { Answer::ok("content") });
    assert_eq!(get(&server, b"content", 100), Ok(b"content".to_vec()));
}

#[test]
fn content_that_is_not_what_was_pinned_is_never_kept() {
    let server = Server::start(|_, _| Answer::ok("something else"));
    let lab = lab();
    let url = format!("http://{}/file", server.host);
    let request = Request { url: &url, ..Request::default() };
    let pinned = hash_bytes(b"content");
    let error = fetcher().blob(request, &pinned, 100, &lab.store).unwrap_err().to_string();
    let got = hash_bytes(b"something else");
    assert_eq!(
        error,
        format!("{url}: has sha256 {got}, not {pinned}: upstream changed the file, or somebody else did")
    );
    assert_eq!((lab.store.get(&pinned, None), lab.store.get(&got, None)), (None, None));
}

#[test]
fn more_than_was_announced_is_not_taken() {
    let server = Server::start(|_, _| Answer::ok(vec![0; 5000]));
    assert_eq!(get(&server, b"", 4999), Err("http://HOST/file: is larger than 4999 bytes".into()));
}

#[test]
fn a_host_that_does_not_let_us_connect_is_asked_once() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let fetcher = fetcher();
    let ask = |path: &str| {
        let url = format!("http://{closed}/{path}");
        fetcher.document(Request { url: &url, ..Request::default() }).unwrap_err().to_string()
    };
    ask("a");
    assert_eq!(ask("b"), format!("cannot reach http://{closed}/b: {closed} does not let us connect"));
}

#[test]
fn only_certificates_are_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let key = rcgen::generate_simple_self_signed(["lab".to_owned()]).unwrap();
    std::fs::write(&path, key.signing_key.serialize_pem()).unwrap();
    assert!(certificates(&path).is_err(), "a key is no certificate");
    std::fs::write(&path, key.cert.pem()).unwrap();
    assert!(matches!(certificates(&path).unwrap(), RootCerts::Specific(all) if all.len() == 1));
}
