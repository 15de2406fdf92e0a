//! How a server is reached.

use std::{fmt, time::Duration};

/// A text that never shows up in logs, dumps or messages.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that signs with it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "(set)" })
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Credentials {
    /// The SDK's usual chain: environment, profiles, web identity, container and instance roles.
    #[default]
    Chain,
    /// Given keys.
    Keys {
        /// The access key's id.
        access_key: String,
        /// The secret access key.
        secret_key: Secret,
        /// The token of temporary credentials.
        session_token: Option<Secret>,
    },
    /// Nobody in particular: requests are not signed.
    Anonymous,
}

/// How a server is reached and how long it is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Who asks.
    pub credentials: Credentials,
    /// The profile of the shared configuration files; `None`: `AWS_PROFILE`, else `default`.
    pub profile: Option<String>,
    /// A role that is assumed with those credentials.
    pub role_arn: Option<String>,
    /// The region; `None`: the SDK's usual chain, else `us-east-1`.
    pub region: Option<String>,
    /// Another server than AWS, such as `http://127.0.0.1:9000`.
    pub endpoint: Option<String>,
    /// A file with the certificates (PEM) of the authorities that are trusted instead of the
    /// system's; `None`: the one that `AWS_CA_BUNDLE` names, else the system's.
    pub ca_bundle: Option<String>,
    /// The bucket goes into the path and not into the host's name.
    pub path_style: bool,
    /// The requester pays for the transfer.
    pub requester_pays: bool,
    /// Times one request is tried in all, at least 1.
    pub attempts: u32,
    /// Longest time for a connection to come about.
    pub connect_timeout: Duration,
    /// Longest time for an answer to begin once a request has been sent.
    pub request_timeout: Duration,
    /// Longest time during which not a byte of a body moves.
    pub stall_timeout: Duration,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            profile: None,
            role_arn: None,
            region: None,
            endpoint: None,
            ca_bundle: None,
            path_style: false,
            requester_pays: false,
            attempts: 5,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let connection = Connection {
            credentials: Credentials::Keys {
                access_key: "AKIDEXAMPLE".into(),
                secret_key: Secret::new("hidden1"),
                session_token: Some(Secret::new("hidden2")),
            },
            ..Default::default()
        };
        let text = format!("{connection:?} {connection:#?}");
        assert!(!text.contains("hidden"), "{text}");
    }
}
