//! Another certificate and another configuration while requests come: not one of them fails.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use rustls::{ClientConfig, ConfigBuilder, HandshakeKind, pki_types::CertificateDer};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use crate::support::{
    client::{Client, Post, Told, Wire},
    events, eventually,
    gateway::{Gateway, Setup},
    metrics::Scrape,
    say,
};

const LIMIT: Duration = Duration::from_secs(20);

/// Requests without end, over kept connections and over new ones, of which none may fail.
struct Load {
    stop: Arc<AtomicBool>,
    /// Requests that each of the tasks had answered.
    sent: Vec<Arc<AtomicU64>>,
    tasks: JoinSet<()>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let kinds = [(Wire::H1, true), (Wire::H2, true), (Wire::H2, true), (Wire::H1, false), (Wire::H2, false)];
        let sent: Vec<Arc<AtomicU64>> = kinds.iter().map(|_| Arc::default()).collect();
        let mut tasks = JoinSet::new();
        for ((wire, is_kept), sent) in kinds.into_iter().zip(&sent) {
            let (client, stop, sent) = (client.clone(), stop.clone(), sent.clone());
            tasks.spawn(async move {
                let mut rng = Rng::new();
                let mut connection = client.connect(wire).await.expect("it listens");
                while !stop.load(Ordering::Relaxed) {
                    if !is_kept {
                        connection = client.connect(wire).await.expect("it listens");
                    }
                    let post = Post::json(events::small(events::identity(&mut rng)));
                    let answer = connection.post(&post).await.expect("an answer");
                    assert_eq!(answer.told(1), [Told::Accepted]);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { stop, sent, tasks }
    }

    /// Waits until each connection that was kept, and each kind of new one, has had an answer to a request that began now.
    async fn goes_on(&mut self) {
        let sent = || self.sent.iter().map(|sent| sent.load(Ordering::Relaxed)).collect::<Vec<_>>();
        // The next answer may be to a request that is on its way.
        let enough: Vec<u64> = sent().into_iter().map(|sent| sent + 2).collect();
        let answered =
            eventually("requests go on", LIMIT, async || sent().iter().zip(&enough).all(|(sent, enough)| sent >= enough));
        tokio::select! {
            () = answered => {}
            ended = self.tasks.join_next() => panic!("a request failed: {ended:?}"),
        }
    }

    async fn end(mut self) -> u64 {
        self.goes_on().await;
        self.stop.store(true, Ordering::Relaxed);
        while let Some(task) = self.tasks.join_next().await {
            task.expect("no request failed");
        }
        self.sent.iter().map(|sent| sent.load(Ordering::Relaxed)).sum()
    }
}

/// A certificate for localhost and its key, in two files of `folder`.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    der: CertificateDer<'static>,
}

impl Pair {
    fn make(folder: &Path, name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let pair = Self {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
            der: made.cert.der().clone(),
        };
        fs::write(&pair.certificate, made.cert.pem()).expect("a file");
        fs::write(&pair.key, made.signing_key.serialize_pem()).expect("a file");
        pair
    }

    /// Whether clients that come for the first time get this certificate.
    async fn is_shown(&self, client: &impl Fn() -> Client) -> bool {
        let client = client();
        let stream = client.stream(Wire::H2).await.expect("it listens");
        let shown = stream.get_ref().1.peer_certificates().expect("a server has one");
        shown[0] == self.der
    }
}

fn setup(folder: &Path) -> Setup {
    Setup::new(folder.join("data")).set("lake.flush_age_ms", 100)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_under_load_and_no_request_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let pairs: Vec<Pair> = ["a", "b", "c"].iter().map(|name| Pair::make(folder.path(), name)).collect();
    let (certificate, key) = (folder.path().join("used.pem"), folder.path().join("used.key"));
    let put = |from: &Path, to: &Path| {
        // As certbot and Kubernetes do it: another file under the old name.
        fs::copy(from, folder.path().join("new")).expect("a file");
        fs::rename(folder.path().join("new"), to).expect("a file");
    };
    put(&pairs[0].certificate, &certificate);
    put(&pairs[0].key, &key);
    let setup = setup(folder.path()).set("tls.certificate", certificate.display()).set("tls.private_key", key.display());
    let gateway = setup.start().await;
    let files: Vec<&Path> = pairs.iter().map(|pair| pair.certificate.as_path()).collect();
    let stranger = || Client::with(&files, gateway.events(), ConfigBuilder::<ClientConfig, _>::with_no_client_auth);
    assert!(pairs[0].is_shown(&stranger).await);
    let client = stranger();
    let mut load = Load::start(&client);
    load.goes_on().await;
    // The gateway notices by itself.
    put(&pairs[1].certificate, &certificate);
    put(&pairs[1].key, &key);
    eventually("the second certificate is shown", LIMIT, async || pairs[1].is_shown(&stranger).await).await;
    load.goes_on().await;
    // A pair that is none: the old one stays, and the log and a metric say so.
    put(&pairs[2].certificate, &certificate);
    Scrape::when("the failure is counted", &gateway, |scrape| scrape.value("certificate_reload_failures") == 1).await;
    gateway.until_logged("the old one stays in use", 1).await;
    assert!(pairs[1].is_shown(&stranger).await);
    load.goes_on().await;
    // Whoever does not want to wait sends SIGHUP.
    put(&pairs[2].key, &key);
    gateway.hang_up();
    eventually("the third certificate is shown", LIMIT, async || pairs[2].is_shown(&stranger).await).await;
    let sent = load.end().await;
    // Those who come back skip the key exchange.
    client.get("/healthz").await.expect("an answer");
    let resumed = client.stream(Wire::H1).await.expect("it listens");
    assert_eq!(resumed.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    say(format_args!("certificate: {sent} requests during three certificates, none failed"));
    let counted = Scrape::when_drained(&gateway).await;
    assert_eq!(counted.outcomes(), [i64::try_from(sent).expect("few"), 0, 0, 0], "{counted:?}");
    gateway.stop().await;
}

fn key(name: &str, more: &str) -> String {
    let hash: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[[keys]]\nname = \"{name}\"\nsecret_sha256 = \"{hash}\"\n{more}\n")
}

async fn status(gateway: &Gateway, name: &str) -> u16 {
    let post = Post::json(events::small(events::identity(&mut Rng::new()))).header("x-api-key", name);
    gateway.client().post(Wire::H1, &post).await.expect("an answer").status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_read_again_under_load_and_no_request_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("lakegate.toml");
    let write = |text: String| fs::write(&config, text).expect("a file");
    write([key("dev", ""), key("old", "")].concat());
    let gateway = setup(folder.path()).config(&config).start().await;
    let mut load = Load::start(&gateway.client());
    load.goes_on().await;
    assert_eq!([status(&gateway, "old").await, status(&gateway, "new").await], [202, 401]);
    for round in 1..=5 {
        let narrow = format!("events_per_second = {round}\nallowed_events = [\"account:*\"]");
        write([key("dev", ""), key("new", &narrow), "[http]\nconnections_max = 1000\n".to_owned()].concat());
        gateway.hang_up();
        Scrape::when("it is in force", &gateway, |scrape| scrape.value("config_reloads") == round).await;
        load.goes_on().await;
    }
    let says = async |text: &str| _ = gateway.until_logged(text, 1).await;
    says(r#""keys_added":"new","keys_removed":"old","keys_changed":"""#).await;
    says(r#""keys_changed":"new""#).await;
    says(r#""waiting_for_a_restart":"http""#).await;
    assert_eq!([status(&gateway, "old").await, status(&gateway, "new").await], [401, 422], "the new key may not send this");
    // A fault anywhere leaves all as it was, and is named.
    write([key("dev", ""), key("old", ""), key("bad", "kind = \"browser\"")].concat());
    gateway.hang_up();
    Scrape::when("the failure is counted", &gateway, |scrape| scrape.value("config_reload_failures") == 1).await;
    says("keys[2].allowed_origins: is empty").await;
    says("the old one stays in force").await;
    assert_eq!([status(&gateway, "old").await, status(&gateway, "new").await], [401, 422]);
    let sent = load.end().await;
    say(format_args!("configuration: {sent} requests during five reloads, none failed"));
    let counted = Scrape::when_drained(&gateway).await;
    // And what was asked in between: one taken of the old key, two refused of the new one.
    assert_eq!(counted.outcomes(), [i64::try_from(sent).expect("few") + 1, 0, 2, 0], "{counted:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_schema_is_in_force_after_a_reload_and_a_faulty_one_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let schema = |title: &str| {
        serde_json::json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, "description": title, "type": "object",
            "properties": {"dish": {"type": "string", "description": "Which."}},
        })
        .to_string()
    };
    let kitchen = folder.path().join("schemas/kitchen");
    for name in ["closed", "opened"] {
        fs::create_dir_all(kitchen.join(name)).expect("a folder");
    }
    fs::write(kitchen.join("closed/1.json"), schema("The kitchen has closed")).expect("a file");
    let setup = setup(folder.path()).schemas(folder.path().join("schemas"));
    let gateway = setup.start().await;
    let newest = async || gateway.client().get("/v1/schemas/kitchen:opened").await.expect("an answer").status;
    assert_eq!(newest().await, 404);
    fs::write(kitchen.join("opened/1.json"), schema("The kitchen has opened")).expect("a file");
    gateway.hang_up();
    eventually("the new schema is there", LIMIT, async || newest().await == 200).await;
    fs::write(kitchen.join("opened/1.json"), "{").expect("a file");
    gateway.hang_up();
    Scrape::when("the failure is counted", &gateway, |scrape| scrape.value("config_reload_failures") == 1).await;
    assert_eq!(newest().await, 200);
    gateway.stop().await;
}
