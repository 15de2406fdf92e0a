//! What the elements have in common: where the object is and how the server is reached.

use std::time::Duration;

use gst::{glib, prelude::*};
use gstneural_s3::{Connection, Credentials, ErrorKind, S3Error, S3Uri, Secret, UriError};

/// The properties that the elements share.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionSettings {
    location: Option<String>,
    uri_has_region: bool,
    bucket: Option<String>,
    key: Option<String>,
    access_key: Option<String>,
    secret_key: Secret,
    session_token: Secret,
    anonymous: bool,
    connection: Connection,
}

/// Nothing, or what is between the blanks.
pub(crate) fn text(value: &glib::Value) -> Option<String> {
    let text: Option<String> = value.get().ok().flatten();
    text.filter(|t| !t.is_empty())
}

/// A property that holds a text and cannot change while the element runs.
pub(crate) fn string(
    name: &'static str,
    nick: &'static str,
    blurb: &'static str,
) -> glib::ParamSpec {
    glib::ParamSpecString::builder(name)
        .nick(nick)
        .blurb(blurb)
        .mutable_ready()
        .build()
}

/// A property that is off unless it is switched on, and cannot change while the element runs.
pub(crate) fn boolean(
    name: &'static str,
    nick: &'static str,
    blurb: &'static str,
) -> glib::ParamSpec {
    glib::ParamSpecBoolean::builder(name)
        .nick(nick)
        .blurb(blurb)
        .mutable_ready()
        .build()
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

impl ConnectionSettings {
    /// The specifications of the properties: object and server.
    pub fn properties() -> Vec<glib::ParamSpec> {
        let mut all = vec![
            string(
                "uri",
                "URI",
                "s3://BUCKET/KEY, with ?versionId=ID to read one version",
            ),
            string("location", "Location", "Another name of uri"),
            boolean(
                "uri-has-region",
                "URI has a region",
                "The uri is of the form s3://REGION/BUCKET/KEY (that of gst-plugin-aws)",
            ),
            string("bucket", "Bucket", "The bucket, where uri is not set"),
            string(
                "key",
                "Key",
                "The key as it is (not percent-encoded), where uri is not set",
            ),
        ];
        all.extend(Self::server_properties());
        all
    }

    /// Those of the way to the server alone, for what reads or writes several objects.
    pub fn server_properties() -> Vec<glib::ParamSpec> {
        // Not readable: what is not readable gets into no dump and no log.
        let secret = |name: &'static str, nick: &'static str, blurb: &'static str| {
            glib::ParamSpecString::builder(name)
                .nick(nick)
                .blurb(blurb)
                .write_only()
                .mutable_ready()
                .build()
        };
        let time = |name: &'static str, nick: &'static str, blurb: &'static str, d: Duration| {
            glib::ParamSpecUInt::builder(name)
                .nick(nick)
                .blurb(blurb)
                .minimum(1)
                .default_value(milliseconds(d))
                .mutable_ready()
                .build()
        };
        let default = Connection::default();
        vec![
            secret(
                "access-key",
                "Access key",
                "The access key's id; without it: environment, profiles and roles, as in the AWS \
                 tools",
            ),
            secret(
                "secret-access-key",
                "Secret access key",
                "The secret that belongs to access-key",
            ),
            secret(
                "session-token",
                "Session token",
                "The token of temporary credentials",
            ),
            string(
                "profile",
                "Profile",
                "The profile of the AWS configuration files",
            ),
            string(
                "role-arn",
                "Role",
                "The ARN of a role that is assumed first",
            ),
            boolean(
                "anonymous",
                "Anonymous",
                "Requests are not signed (public objects)",
            ),
            string(
                "region",
                "Region",
                "The bucket's region (default: that of the environment)",
            ),
            string(
                "endpoint-uri",
                "Endpoint",
                "Another server than AWS, such as http://127.0.0.1:9000",
            ),
            string(
                "ca-bundle",
                "CA bundle",
                "A PEM file with the authorities to trust instead of the system's (default: the \
                 one that AWS_CA_BUNDLE names)",
            ),
            boolean(
                "force-path-style",
                "Path style",
                "The bucket's name goes into the path, not into the host's name",
            ),
            boolean(
                "requester-pays",
                "Requester pays",
                "The requester pays for the transfer",
            ),
            glib::ParamSpecUInt::builder("retry-attempts")
                .nick("Attempts")
                .blurb("Times a request is tried in all, with growing pauses")
                .minimum(1)
                .maximum(100)
                .default_value(default.attempts)
                .mutable_ready()
                .build(),
            time(
                "connect-timeout",
                "Connect timeout",
                "Longest time for a connection to come about, in ms",
                default.connect_timeout,
            ),
            time(
                "request-timeout",
                "Request timeout",
                "Longest time for an answer to begin once the request is sent, in ms",
                default.request_timeout,
            ),
            time(
                "stall-timeout",
                "Stall timeout",
                "Longest time during which no byte moves, in ms",
                default.stall_timeout,
            ),
        ]
    }

    /// Sets a property; `false` when it is none of these.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        let flag = || value.get().unwrap_or_default();
        let time = || Duration::from_millis(value.get::<u32>().unwrap_or(1).into());
        let connection = &mut self.connection;
        match name {
            "uri" | "location" => self.location = text(value),
            "uri-has-region" => self.uri_has_region = flag(),
            "bucket" => self.bucket = text(value),
            "key" => self.key = text(value),
            "access-key" => self.access_key = text(value),
            "secret-access-key" => self.secret_key = Secret::new(text(value).unwrap_or_default()),
            "session-token" => self.session_token = Secret::new(text(value).unwrap_or_default()),
            "anonymous" => self.anonymous = flag(),
            "profile" => connection.profile = text(value),
            "role-arn" => connection.role_arn = text(value),
            "region" => connection.region = text(value),
            "endpoint-uri" => connection.endpoint = text(value),
            "ca-bundle" => connection.ca_bundle = text(value),
            "force-path-style" => connection.path_style = flag(),
            "requester-pays" => connection.requester_pays = flag(),
            "retry-attempts" => connection.attempts = value.get().unwrap_or(1),
            "connect-timeout" => connection.connect_timeout = time(),
            "request-timeout" => connection.request_timeout = time(),
            "stall-timeout" => connection.stall_timeout = time(),
            _ => return false,
        }
        true
    }

    /// A property's value; `None` when it is none of these.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        let connection = &self.connection;
        Some(match name {
            "uri" | "location" => self.uri_text().to_value(),
            "uri-has-region" => self.uri_has_region.to_value(),
            "bucket" => self.bucket.to_value(),
            "key" => self.key.to_value(),
            "anonymous" => self.anonymous.to_value(),
            "profile" => connection.profile.to_value(),
            "role-arn" => connection.role_arn.to_value(),
            "region" => connection.region.to_value(),
            "endpoint-uri" => connection.endpoint.to_value(),
            "ca-bundle" => connection.ca_bundle.to_value(),
            "force-path-style" => connection.path_style.to_value(),
            "requester-pays" => connection.requester_pays.to_value(),
            "retry-attempts" => connection.attempts.to_value(),
            "connect-timeout" => milliseconds(connection.connect_timeout).to_value(),
            "request-timeout" => milliseconds(connection.request_timeout).to_value(),
            "stall-timeout" => milliseconds(connection.stall_timeout).to_value(),
            _ => return None,
        })
    }

    /// The location as it was given, or made of bucket and key.
    pub fn uri_text(&self) -> Option<String> {
        match (&self.location, &self.bucket, &self.key) {
            (Some(location), _, _) => Some(location.clone()),
            (None, Some(bucket), Some(key)) => S3Uri::from_parts(bucket, key)
                .ok()
                .map(|uri| uri.to_string()),
            _ => None,
        }
    }

    fn parse(&self, uri: &str) -> Result<S3Uri, UriError> {
        match self.uri_has_region {
            true => S3Uri::parse_with_region(uri),
            false => S3Uri::parse(uri),
        }
    }

    /// Takes a URI from a URI handler's caller.
    pub fn set_uri(&mut self, uri: &str) -> Result<(), glib::Error> {
        self.parse(uri)
            .map_err(|e| glib::Error::new(gst::URIError::BadUri, &e.to_string()))?;
        self.location = Some(uri.to_owned());
        Ok(())
    }

    /// The object and the way to it, checked.
    pub fn resolve(&self) -> Result<(S3Uri, Connection), gst::ErrorMessage> {
        let refused = |text: String| gst::error_msg!(gst::ResourceError::Settings, ("{}", text));
        let uri = match (&self.location, &self.bucket, &self.key) {
            (Some(location), _, _) => self.parse(location),
            (None, Some(bucket), Some(key)) => S3Uri::from_parts(bucket, key),
            _ => {
                let text = "no object is named: set uri=s3://BUCKET/KEY, or bucket and key";
                return Err(refused(text.to_owned()));
            }
        };
        let uri = uri.map_err(|e| refused(e.to_string()))?;
        Ok((uri, self.resolve_server()?))
    }

    /// The way to the server, checked.
    pub fn resolve_server(&self) -> Result<Connection, gst::ErrorMessage> {
        let refused = |text: String| gst::error_msg!(gst::ResourceError::Settings, ["{}", text]);
        let mut connection = self.connection.clone();
        connection.credentials = match (&self.access_key, self.anonymous) {
            (_, true) => Credentials::Anonymous,
            (Some(access_key), false) => Credentials::Keys {
                access_key: access_key.clone(),
                secret_key: self.secret_key.clone(),
                session_token: Some(&self.session_token).filter(|t| !t.is_empty()).cloned(),
            },
            (None, false) if !self.secret_key.is_empty() => {
                return Err(refused(
                    "secret-access-key is set, but not access-key".to_owned(),
                ));
            }
            (None, false) => Credentials::Chain,
        };
        Ok(connection)
    }
}

/// The GStreamer error that comes nearest.
pub(crate) fn resource_error(error: &S3Error, otherwise: gst::ResourceError) -> gst::ResourceError {
    match error.kind {
        ErrorKind::NotFound | ErrorKind::NoBucket => gst::ResourceError::NotFound,
        ErrorKind::Denied | ErrorKind::NoCredentials | ErrorKind::Expired => {
            gst::ResourceError::NotAuthorized
        }
        ErrorKind::Invalid => gst::ResourceError::Settings,
        ErrorKind::Throttled => gst::ResourceError::Busy,
        _ => otherwise,
    }
}
