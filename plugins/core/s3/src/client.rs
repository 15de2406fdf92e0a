//! Clients: one for each way of reaching a server, all on the same connections.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, Weak},
    time::Duration,
};

use crate::{
    error::{ErrorKind, S3Error},
    http,
    options::{Connection, Credentials},
    uri::S3Uri,
};
use aws_config::{
    BehaviorVersion, Region,
    default_provider::{credentials::DefaultCredentialsChain, region::DefaultRegionChain},
    environment::EnvironmentVariableRegionProvider,
    meta::region::RegionProviderChain,
    profile::ProfileFileRegionProvider,
    sts::AssumeRoleProvider,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::{
    Client as Sdk,
    config::{
        RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
        StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
    },
    types::RequestPayer,
};

/// The region where nothing says which; servers other than AWS take any.
const FALLBACK_REGION: &str = "us-east-1";
/// Names a file with the authorities to trust, as it does for the AWS tools.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";
/// Longest search for credentials and a role.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(30);

/// A server and how it is spoken to.
pub(crate) struct Client {
    pub sdk: Sdk,
    pub connection: Connection,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// The client for a connection; transfers with equal settings share one.
    pub async fn connect(connection: &Connection, uri: &S3Uri) -> Result<Arc<Self>, S3Error> {
        static CLIENTS: OnceLock<Mutex<HashMap<Connection, Weak<Client>>>> = OnceLock::new();
        let mut connection = connection.clone();
        if uri.region.is_some() && connection.region.is_none() {
            connection.region.clone_from(&uri.region);
        }
        if connection.ca_bundle.is_none() {
            connection.ca_bundle = std::env::var(CA_BUNDLE).ok().filter(|p| !p.is_empty());
        }
        validate(&connection, uri)?;
        let clients = CLIENTS.get_or_init(Mutex::default);
        let lock = || clients.lock().unwrap_or_else(|e| e.into_inner());
        // The chain looks at the environment, which may have changed: it is asked every time.
        let cacheable = !matches!(connection.credentials, Credentials::Chain);
        if cacheable && let Some(client) = lock().get(&connection).and_then(Weak::upgrade) {
            return Ok(client);
        }
        let http = http::client(connection.ca_bundle.as_deref())
            .map_err(|text| S3Error::local(ErrorKind::Invalid, "connecting", uri, text))?;
        let built = build(connection.clone(), http);
        let made = tokio::time::timeout(CREDENTIALS_TIMEOUT, built).await;
        let client = made.map_err(|_| {
            let text = "looking for credentials took too long";
            S3Error::local(ErrorKind::NoCredentials, "AssumeRole", uri, text)
        })?;
        let client = Arc::new(client);
        if cacheable {
            let mut clients = lock();
            clients.retain(|_, client| client.strong_count() > 0);
            clients.insert(connection, Arc::downgrade(&client));
        }
        Ok(client)
    }

    /// What every request says about who pays.
    pub fn payer(&self) -> Option<RequestPayer> {
        self.connection
            .requester_pays
            .then_some(RequestPayer::Requester)
    }

    /// Runs a small request: within the time, and again where that may help.
    pub async fn call<T, F, R>(
        &self,
        operation: &'static str,
        uri: &S3Uri,
        mut request: F,
    ) -> Result<T, S3Error>
    where
        F: FnMut(u32) -> R,
        R: Future<Output = Result<T, S3Error>>,
    {
        let limit = self.connection.request_timeout;
        crate::retry::retry(self.connection.attempts, |attempt| {
            let request = request(attempt);
            async move {
                tokio::time::timeout(limit, request)
                    .await
                    .unwrap_or_else(|_| {
                        let text = format!("no answer within {} s", limit.as_secs_f32());
                        Err(S3Error::local(ErrorKind::Timeout, operation, uri, text))
                    })
            }
        })
        .await
    }
}

fn validate(connection: &Connection, uri: &S3Uri) -> Result<(), S3Error> {
    let invalid = |text: String| S3Error::local(ErrorKind::Invalid, "connecting", uri, text);
    if let Some(endpoint) = &connection.endpoint {
        let host = endpoint
            .strip_prefix("http://")
            .or_else(|| endpoint.strip_prefix("https://"));
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'@' | b'?' | b'#' | b'"' | b'<');
        if host.is_none_or(|h| h.is_empty() || h.starts_with('/') || !h.bytes().all(plain)) {
            let text = "endpoint-uri has to look like http://HOST:PORT or https://HOST, without a \
                        user or a password in it";
            return Err(invalid(text.into()));
        }
    }
    if let Some(region) = &connection.region {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if region.is_empty() || region.len() > 64 || !region.bytes().all(plain) {
            return Err(invalid(format!("'{region}' is no name of a region")));
        }
    }
    if let Credentials::Keys {
        access_key,
        secret_key,
        ..
    } = &connection.credentials
    {
        if access_key.is_empty() || secret_key.is_empty() {
            let text = "access-key and secret-access-key have to be given together";
            return Err(invalid(text.into()));
        }
        if !access_key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(invalid(
                "access-key holds characters that no access key has".into(),
            ));
        }
    }
    if connection.attempts == 0
        || connection.request_timeout.is_zero()
        || connection.connect_timeout.is_zero()
        || connection.stall_timeout.is_zero()
    {
        return Err(invalid(
            "times and the number of tries have to be above zero".into(),
        ));
    }
    Ok(())
}

async fn build(connection: Connection, http: SharedHttpClient) -> Client {
    let region = connection.region.clone().map(Region::new);
    let region = RegionProviderChain::first_try(region);
    let region = if connection.endpoint.is_some() {
        // Not the instance's metadata: another server has nothing to do with it.
        region
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
    } else {
        region.or_else(DefaultRegionChain::builder().build())
    };
    let region = region.or_else(FALLBACK_REGION).region().await;
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .region(region.clone());
    if let Some(profile) = &connection.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &connection.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader = match &connection.credentials {
        Credentials::Chain => {
            let mut chain = DefaultCredentialsChain::builder();
            if let Some(profile) = &connection.profile {
                chain = chain.profile_name(profile);
            }
            if let Some(region) = region {
                chain = chain.region(region);
            }
            loader.credentials_provider(chain.build().await)
        }
        Credentials::Keys {
            access_key,
            secret_key,
            session_token,
        } => {
            let token = session_token.as_ref().map(|t| t.expose().to_owned());
            loader.credentials_provider(aws_credential_types::Credentials::new(
                access_key,
                secret_key.expose(),
                token,
                None,
                "properties",
            ))
        }
        Credentials::Anonymous => loader.no_credentials(),
    };
    let shared = loader.load().await;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(connection.connect_timeout)
        .build();
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(connection.path_style)
        // Tries and times are our own: they have to know how far a body has come.
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Checksums too: a part's is computed once, however often it is sent.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if matches!(connection.credentials, Credentials::Anonymous) {
        config = config.allow_no_auth();
    }
    if let (Some(role), Some(provider)) = (&connection.role_arn, shared.credentials_provider()) {
        let assumed = AssumeRoleProvider::builder(role)
            .session_name("gst-neural")
            .configure(&shared)
            .build_from_provider(provider)
            .await;
        config = config.credentials_provider(SharedCredentialsProvider::new(assumed));
    }
    Client {
        sdk: Sdk::from_conf(config.build()),
        connection,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_right_are_refused() {
        let uri = S3Uri::from_parts("films", "a").expect("a name");
        let refused = |change: fn(&mut Connection)| {
            let mut connection = Connection::default();
            change(&mut connection);
            validate(&connection, &uri).is_err()
        };
        assert!(!refused(|_| ()));
        assert!(!refused(
            |c| c.endpoint = Some("http://127.0.0.1:9000".into())
        ));
        assert!(refused(|c| c.endpoint = Some("127.0.0.1:9000".into())));
        assert!(refused(
            |c| c.endpoint = Some("http://user:word@host".into())
        ));
        assert!(refused(|c| c.endpoint = Some("https:///".into())));
        assert!(refused(|c| c.region = Some("eu west".into())));
        assert!(refused(|c| c.attempts = 0));
        assert!(refused(|c| c.request_timeout = Duration::ZERO));
        assert!(refused(|c| c.credentials = Credentials::Keys {
            access_key: "key".into(),
            secret_key: Default::default(),
            session_token: None,
        }));
    }
}
