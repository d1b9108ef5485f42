use serde_json::json;

use super::super::http_double::{Answer, Asked, Server};
use super::super::oci::descriptor;
use super::*;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The documents of one image for two architectures, as a registry has them.
struct Remote {
    index: Vec<u8>,
    manifest: Vec<u8>,
    layer: Vec<u8>,
    config: Vec<u8>,
}

fn remote() -> Remote {
    let layer = b"a layer, compressed or not".to_vec();
    let config = br#"{"architecture":"amd64","os":"linux"}"#.to_vec();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &oci::bytes(config.clone())),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &oci::bytes(layer.clone()))],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut ours = descriptor(MANIFEST, &oci::bytes(manifest.clone()));
    ours["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let mut other = descriptor(MANIFEST, &oci::bytes(b"another".to_vec()));
    other["platform"] = json!({"os": "linux", "architecture": "s390x"});
    let index =
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [other, ours]}).to_string().into_bytes();
    Remote { index, manifest, layer, config }
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hash_bytes(content))
}

/// A registry that wants a token, as the public ones do.
fn registry(change: impl Fn(&Asked, Answer) -> Answer + Send + 'static) -> Server {
    let remote = remote();
    Server::start(move |asked, _| {
        let typed = |kind: &str, body: &[u8]| Answer {
            headers: vec![("Content-Type", format!("{kind}; charset=utf-8"))],
            ..Answer::ok(body)
        };
        let path = asked.path.as_str();
        let answer = if path.starts_with("/token?") {
            assert_eq!(path, "/token?service=reg%20one&scope=repository:team/app:pull");
            Answer::ok(r#"{"token": "t0ken"}"#)
        } else if asked.authorization.as_deref() != Some("Bearer t0ken") {
            Answer::status(401)
        } else if path == "/v2/team/app/manifests/v1" || path.ends_with(&digest(&remote.index)) {
            typed(INDEX, &remote.index)
        } else if path.ends_with(&digest(&remote.manifest)) {
            typed(MANIFEST, &remote.manifest)
        } else if path.ends_with(&digest(&remote.layer)) {
            Answer::ok(&*remote.layer)
        } else if path.ends_with(&digest(&remote.config)) {
            Answer::ok(&*remote.config)
        } else {
            Answer::status(404)
        };
        change(asked, answer)
    })
}

/// Adds the challenge of a 401, which must name the server itself.
fn with_login() -> Server {
    let host = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let shared = host.clone();
    let server = registry(move |_, mut answer| {
        if answer.status == 401 {
            let realm = format!("http://{}/token", shared.get().unwrap());
            let challenge =
                format!("Bearer realm=\"{realm}\",service=\"reg one\",scope=\"repository:team/app:pull\"");
            answer.headers.push(("WWW-Authenticate", challenge));
        }
        answer
    });
    host.set(server.host.clone()).unwrap();
    server
}

fn pull_from(server: &Server, pinned: Option<&str>, arch: &str, store: &Store) -> Result<Pulled, String> {
    let fetcher = Fetcher::new(&|_| {}).unwrap().impatient();
    let pulled = pull(&format!("{}/team/app:v1", server.host), pinned, arch, &fetcher, store);
    pulled.map_err(|error| error.to_string().replace(&server.host, "HOST"))
}

#[test]
fn an_image_is_pulled_for_its_architecture_and_its_digests_are_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let server = with_login();
    let remote = remote();
    let pulled = pull_from(&server, None, "amd64", &store).unwrap();
    assert_eq!(pulled.digest, digest(&remote.manifest));
    assert_eq!(pulled.index_digest, Some(digest(&remote.index)));

    let mut tar = tar::Archive::new(std::fs::File::open(&pulled.archive.path).unwrap());
    let paths: std::collections::BTreeSet<String> =
        tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    let mut right: std::collections::BTreeSet<String> = [&remote.manifest, &remote.layer, &remote.config]
        .map(|content| format!("blobs/sha256/{}", hash_bytes(content)))
        .into();
    right.extend(["oci-layout".into(), "index.json".into()]);
    assert_eq!(paths, right);

    // Again: nothing but the two manifests is asked for, and the archive is the same.
    let before = server.log().len();
    assert_eq!(pull_from(&server, Some(&digest(&remote.index)), "amd64", &store), Ok(pulled));
    let asked = server.log()[before..].iter().filter(|path| path.contains("/blobs/")).count();
    assert_eq!(asked, 0, "{:?}", server.log());
}

#[test]
fn an_image_that_is_not_what_was_pinned_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let server = with_login();
    let cases = [
        (None, "s390", "HOST/team/app:v1: is not for s390, only for s390x, amd64".to_owned()),
        (
            Some(digest(b"pinned")),
            "amd64",
            format!("http://HOST/v2/team/app/manifests/{}: the server answered 404", digest(b"pinned")),
        ),
    ];
    for (pinned, arch, why) in cases {
        assert_eq!(pull_from(&server, pinned.as_deref(), arch, &store), Err(why));
    }
    // A registry that serves something else under a digest.
    let liar = Server::start(|_, _| Answer::ok(r#"{"layers": []}"#));
    let error = pull_from(&liar, Some(&digest(b"pinned")), "amd64", &store).unwrap_err();
    let (got, wanted) = (hash_bytes(br#"{"layers": []}"#), hash_bytes(b"pinned"));
    assert_eq!(
        error,
        format!(
            "HOST/team/app:v1: has sha256 {got}, not {wanted}: upstream changed the file, or somebody else did"
        )
    );
}

#[test]
fn a_manifest_that_makes_no_sense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let config = json!({"digest": digest(b"c"), "size": 1});
    let many: Vec<_> = (0..300).map(|_| config.clone()).collect();
    let cases = [
        ("not json".to_owned(), "the registry's answer is no JSON: expected ident at line 1 column 2"),
        ("{}".to_owned(), "the manifest has no layers"),
        (json!({"config": config, "layers": many}).to_string(), "has 300 layers, at most 256 are taken"),
        (
            json!({"config": {"digest": "sha256:../../x", "size": 1}, "layers": []}).to_string(),
            "the manifest names a blob without a sha256 or a sane size",
        ),
        (
            json!({"config": {"digest": digest(b"c"), "size": -1}, "layers": []}).to_string(),
            "the manifest names a blob without a sha256 or a sane size",
        ),
    ];
    for (body, why) in cases {
        let server = Server::start(move |_, _| Answer::ok(body.clone()));
        assert_eq!(pull_from(&server, None, "amd64", &store), Err(format!("HOST/team/app:v1: {why}")));
    }
}

#[test]
fn a_login_that_is_not_encrypted_is_not_used() {
    let reference = Reference::parse("registry.test/team/app:v1").unwrap();
    let fetcher = Fetcher::new(&|_| {}).unwrap().impatient();
    let session = Session { reference: &reference, fetcher: &fetcher, token: None };
    let challenge = r#"Bearer realm="http://elsewhere/token",service="s""#;
    let error = session.log_in("https://registry.test/v2/x", challenge).unwrap_err();
    assert_eq!(
        error.to_string(),
        "https://registry.test/v2/x: the registry wants a login at http://elsewhere/token, which is not encrypted"
    );
}
