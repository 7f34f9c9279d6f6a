//! The token of OAUTHBEARER: from a file, or for Amazon MSK a signed URL in the manner of AWS's own signer.

use std::{
    fmt::Write as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_kinesis::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rdkafka::client::OAuthToken;
use serde::Deserialize;
use tokio::runtime::Handle;

use super::setup_error::SetupError;
use crate::{
    config::{KafkaConfig, KafkaSasl},
    event::unix_millis,
    limits::{KAFKA_METADATA_TIMEOUT, KAFKA_TOKEN_LIFE},
    sink::aws::{Endpoint, connect},
};

/// Who the token is of. The brokers look into the token.
const PRINCIPAL: &str = "lakegate";

/// What is written as `%XX` in a query.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where tokens come from.
#[derive(Clone, Debug)]
pub(super) enum TokenSource {
    /// No tokens are used.
    None,
    /// A file with one token.
    File(PathBuf),
    /// Credentials of AWS.
    Aws(Arc<AwsSource>),
}

#[derive(Debug)]
pub(super) struct AwsSource {
    region: String,
    credentials: SharedCredentialsProvider,
    /// The runtime of the gateway: tokens are asked for on a thread of librdkafka.
    runtime: Handle,
}

/// The only member of a JWT that matters here.
#[derive(Deserialize)]
struct JwtClaims {
    exp: f64,
}

impl TokenSource {
    pub(super) async fn connect(config: &KafkaConfig) -> Result<Self, SetupError> {
        match config.sasl {
            KafkaSasl::Oauthbearer => Ok(Self::File(config.token_file.clone())),
            KafkaSasl::AwsMskIam => {
                let endpoint = Endpoint { region: &config.region, url: "", call_timeout: KAFKA_METADATA_TIMEOUT };
                let aws = connect(&endpoint).await;
                let region = aws
                    .region()
                    .ok_or(SetupError("the region of the MSK cluster is not known; set kafka.region".into()))?
                    .to_string();
                let credentials = aws.credentials_provider().ok_or(SetupError("there are no credentials of AWS".into()))?;
                Ok(Self::Aws(Arc::new(AwsSource { region, credentials, runtime: Handle::current() })))
            }
            _ => Ok(Self::None),
        }
    }

    /// A token for the next connections.
    pub(super) fn make(&self) -> Result<OAuthToken, SetupError> {
        match self {
            Self::None => Err(SetupError("no token is configured".into())),
            Self::File(file) => {
                let token = std::fs::read_to_string(file).map_err(|error| SetupError(format!("{}: {error}", file.display())))?;
                let token = token.trim().to_owned();
                let lifetime_ms = expiry_millis(&token).unwrap_or_else(|| in_millis(KAFKA_TOKEN_LIFE));
                Ok(OAuthToken { token, principal_name: PRINCIPAL.into(), lifetime_ms })
            }
            Self::Aws(source) => {
                let credentials = source.runtime.block_on(source.credentials.provide_credentials()).map_err(SetupError::of)?;
                let token = msk_token(&source.region, credentials, SystemTime::now())?;
                Ok(OAuthToken { token, principal_name: PRINCIPAL.into(), lifetime_ms: in_millis(KAFKA_TOKEN_LIFE) })
            }
        }
    }
}

fn in_millis(life: Duration) -> i64 {
    unix_millis(SystemTime::now() + life)
}

/// When a JWT expires; `None` if the token is no JWT, or says nothing of it.
fn expiry_millis(token: &str) -> Option<i64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    Some((serde_json::from_slice::<JwtClaims>(&claims).ok()?.exp * 1000.0) as i64)
}

/// The token for MSK: a signed URL of the action `kafka-cluster:Connect`, in base64.
fn msk_token(region: &str, credentials: aws_sdk_kinesis::config::Credentials, now: SystemTime) -> Result<String, SetupError> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(KAFKA_TOKEN_LIFE);
    let identity = credentials.into();
    let parameters =
        v4::SigningParams::builder().identity(&identity).region(region).name("kafka-cluster").time(now).settings(settings);
    let mut url = format!("https://kafka.{region}.amazonaws.com/?Action=kafka-cluster%3AConnect");
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[])).map_err(SetupError::of)?;
    let (instructions, _) =
        sign(request, &parameters.build().map_err(SetupError::of)?.into()).map_err(SetupError::of)?.into_parts();
    for (name, value) in instructions.params() {
        let _ = write!(url, "&{name}={}", utf8_percent_encode(value, RESERVED));
    }
    url.push_str("&User-Agent=lakegate");
    Ok(URL_SAFE_NO_PAD.encode(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_says_when_it_expires_and_another_token_does_not() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"x","exp":1796083200}"#);
        assert_eq!(expiry_millis(&format!("e30.{claims}.sig")), Some(1_796_083_200_000));
        for other in ["opaque", "a.b.c", "e30.e30.sig"] {
            assert_eq!(expiry_millis(other), None, "{other}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, format!("e30.{claims}.sig\n")).unwrap();
        let token = TokenSource::File(file).make().unwrap();
        assert_eq!((token.lifetime_ms, token.token.ends_with(".sig")), (1_796_083_200_000, true));
        let missing = TokenSource::File(folder.path().join("none")).make().err().unwrap();
        assert!(missing.to_string().contains("none"), "{missing}");
    }

    #[test]
    fn a_token_of_msk_is_the_signed_url_that_its_own_signer_makes() {
        let credentials =
            aws_sdk_kinesis::config::Credentials::new("AKIDEXAMPLE", "secret", Some("session".into()), None, "test");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_083_200);
        let token = msk_token("eu-west-1", credentials, now).unwrap();
        let url = String::from_utf8(URL_SAFE_NO_PAD.decode(&token).unwrap()).unwrap();
        let (place, query) = url.split_once('?').unwrap();
        assert_eq!(place, "https://kafka.eu-west-1.amazonaws.com/");
        let names: Vec<&str> = query.split('&').map(|pair| pair.split_once('=').unwrap().0).collect();
        for name in [
            "Action",
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-SignedHeaders",
            "X-Amz-Security-Token",
            "X-Amz-Signature",
            "User-Agent",
        ] {
            assert!(names.contains(&name), "{name}: {url}");
        }
        for part in [
            "Action=kafka-cluster%3AConnect",
            "X-Amz-Expires=900",
            "%2Feu-west-1%2Fkafka-cluster%2Faws4_request",
            "X-Amz-Date=20261201T000000Z",
            "X-Amz-SignedHeaders=host",
        ] {
            assert!(url.contains(part), "{part}: {url}");
        }
    }
}
