//! An S3 in memory, and what the tests ask any S3: puts, gets, deletions and lists, no signatures.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{Response, StatusCode, header::CONTENT_LENGTH},
};
use lakegate::event::{iso_millis, unix_millis};

use super::client::get_plain;

/// What an S3 does with `If-None-Match: *`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditions {
    Obeyed,
    Ignored,
    Unknown,
}

#[derive(Clone, Debug)]
struct Object {
    bytes: Vec<u8>,
    modified_millis: i64,
}

/// An S3 in memory with one bucket, `bucket`.
#[derive(Clone, Debug)]
pub struct FakeS3 {
    objects: Arc<Mutex<BTreeMap<String, Object>>>,
    conditions: Conditions,
    /// Objects that were written over.
    pub replaced: Arc<Mutex<Vec<String>>>,
}

impl FakeS3 {
    pub async fn start(conditions: Conditions) -> (Self, String) {
        let s3 = Self { objects: Arc::default(), conditions, replaced: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let router = axum::Router::new().fallback(Self::answer).with_state(s3.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (s3, url)
    }

    /// Makes the objects old whose names begin with `beginning`.
    pub fn age(&self, beginning: &str, millis: i64) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, object) in
            objects.iter_mut().filter(|(key, _)| key.rsplit('/').next().is_some_and(|name| name.starts_with(beginning)))
        {
            object.modified_millis -= millis;
        }
    }

    async fn answer(State(s3): State<Self>, request: Request) -> Response<Body> {
        let (head, body) = request.into_parts();
        let key = decoded(head.uri.path().trim_start_matches("/bucket").trim_start_matches('/'));
        let query = head.uri.query().unwrap_or_default().to_owned();
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let answer = |status: StatusCode, body: Vec<u8>| {
            let response = Response::builder().status(status).header("etag", "\"0\"");
            response
                .header("last-modified", "Thu, 26 Nov 2026 15:00:00 GMT")
                .header(CONTENT_LENGTH, body.len())
                .body(Body::from(body))
                .expect("an answer")
        };
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        let mut objects = s3.objects.lock().unwrap_or_else(PoisonError::into_inner);
        match (head.method.as_str(), objects.get(&key)) {
            ("PUT", found) => {
                let is_found = found.is_some();
                match (header("if-none-match").as_str(), s3.conditions) {
                    ("*", Conditions::Unknown) => {
                        return answer(StatusCode::NOT_IMPLEMENTED, b"<Error><Code>NotImplemented</Code></Error>".to_vec());
                    }
                    ("*", Conditions::Obeyed) if is_found => return answer(StatusCode::PRECONDITION_FAILED, Vec::new()),
                    _ => {}
                }
                if is_found {
                    s3.replaced.lock().unwrap_or_else(PoisonError::into_inner).push(key.clone());
                }
                let object = Object { bytes: body.to_vec(), modified_millis: unix_millis(SystemTime::now()) };
                objects.insert(key, object);
                answer(StatusCode::OK, Vec::new())
            }
            ("POST", _) if query.starts_with("delete") => {
                let text = String::from_utf8_lossy(&body).into_owned();
                let mut xml = "<DeleteResult>".to_owned();
                for key in keys_in(&text) {
                    objects.remove(&key);
                    xml += &format!("<Deleted><Key>{key}</Key></Deleted>");
                }
                answer(StatusCode::OK, (xml + "</DeleteResult>").into_bytes())
            }
            ("DELETE", _) => {
                objects.remove(&key);
                answer(StatusCode::NO_CONTENT, Vec::new())
            }
            ("GET", _) if query.contains("list-type=2") => answer(StatusCode::OK, list(&objects, &query).into_bytes()),
            ("HEAD", Some(object)) => {
                let mut response = answer(StatusCode::OK, Vec::new());
                response.headers_mut().insert(CONTENT_LENGTH, object.bytes.len().into());
                response
            }
            ("GET", Some(object)) => {
                let range = header("range");
                let Some((start, end)) = range.trim_start_matches("bytes=").split_once('-') else {
                    return answer(StatusCode::OK, object.bytes.clone());
                };
                let (start, end): (usize, usize) = (start.parse().expect("a number"), end.parse().expect("a number"));
                let mut response = answer(StatusCode::PARTIAL_CONTENT, object.bytes[start..=end].to_vec());
                let range = format!("bytes {start}-{end}/{}", object.bytes.len());
                response.headers_mut().insert("content-range", range.parse().expect("a header"));
                response
            }
            _ => answer(StatusCode::NOT_FOUND, b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
        }
    }
}

fn decoded(text: &str) -> String {
    text.replace("%3D", "=").replace("%2F", "/").replace("%3A", ":")
}

/// The texts between `<Key>` and `</Key>`.
fn keys_in(xml: &str) -> Vec<String> {
    xml.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned())).collect()
}

fn list(objects: &BTreeMap<String, Object>, query: &str) -> String {
    let part = |name: &str| query.split('&').find_map(|part| part.strip_prefix(name)).map(decoded).unwrap_or_default();
    let (prefix, after, delimiter) = (part("prefix="), part("start-after="), part("delimiter="));
    let mut xml = "<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>".to_owned();
    let mut folders = BTreeSet::new();
    for (key, object) in objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after) {
        if !delimiter.is_empty()
            && let Some((folder, _)) = key[prefix.len()..].split_once(&delimiter)
        {
            folders.insert(format!("{prefix}{folder}{delimiter}"));
            continue;
        }
        let (size, modified) = (object.bytes.len(), iso_millis(object.modified_millis));
        let modified = modified.as_str();
        xml += &format!(
            "<Contents><Key>{key}</Key><LastModified>{modified}</LastModified><ETag>\"0\"</ETag><Size>{size}</Size></Contents>"
        );
    }
    for folder in folders {
        xml += &format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
    }
    xml + "</ListBucketResult>"
}

/// Copies the objects of a bucket whose keys begin with `prefix` below `folder`.
pub async fn download(url: &str, bucket: &str, prefix: &str, folder: &Path) {
    let address: SocketAddr = url.trim_start_matches("http://").trim_end_matches('/').parse().expect("an address");
    let mut after = String::new();
    loop {
        let path = format!("/{bucket}?list-type=2&prefix={prefix}&start-after={after}");
        let keys = keys_in(&get_plain(address, &path).await.expect("an answer").text());
        for key in &keys {
            let answer = get_plain(address, &format!("/{bucket}/{key}")).await.expect("an answer");
            assert_eq!(answer.status, 200, "{key}");
            let path = folder.join(key);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, &answer.body).expect("a file");
        }
        let Some(last) = keys.into_iter().max() else { return };
        after = last;
    }
}
