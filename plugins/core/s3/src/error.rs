//! What can go wrong, in words that say what to do.

use std::{error::Error, fmt, io};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::http::Response;

use crate::uri::S3Uri;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The object or the version does not exist.
    NotFound,
    /// The bucket does not exist.
    NoBucket,
    /// The server knows who asks and says no, or does not know the key or its signature.
    Denied,
    /// There are no credentials.
    NoCredentials,
    /// The temporary credentials have expired.
    Expired,
    /// The bucket lives in another region.
    WrongRegion,
    /// The clocks of client and server differ too much.
    ClockSkew,
    /// The object was replaced while it was read.
    Changed,
    /// The object exists and must not be replaced.
    Exists,
    /// The server asks for fewer requests.
    Throttled,
    /// The server did not answer, or stopped in the middle.
    Timeout,
    /// The connection could not be made, or broke.
    Network,
    /// The server's certificate is not trusted, or is that of another host.
    Untrusted,
    /// What arrived is not what was sent.
    Checksum,
    /// The server failed.
    Server,
    /// The server does not know the request or one of its options.
    Unsupported,
    /// The request cannot be right.
    Invalid,
    /// The upload is unknown (any more).
    NoUpload,
}

/// A request that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Error {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// The operation of the S3 interface, such as `GetObject`.
    pub operation: &'static str,
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The code of S3, such as `AccessDenied`.
    pub code: Option<String>,
    /// The status of HTTP.
    pub status: Option<u16>,
    /// The server's name for this request, to be quoted to those who run it.
    pub request_id: Option<String>,
    /// The region the bucket lives in, where the server named it.
    pub region: Option<String>,
    /// What happened, in the words of the server or the library.
    pub text: String,
    /// Times it was tried.
    pub attempts: u32,
}

impl S3Error {
    /// A failure that no server had a part in.
    pub(crate) fn local(
        kind: ErrorKind,
        operation: &'static str,
        uri: &S3Uri,
        text: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            operation,
            bucket: uri.bucket.clone(),
            key: uri.key.clone(),
            code: None,
            status: None,
            request_id: None,
            region: None,
            text: text.into(),
            attempts: 0,
        }
    }

    pub(crate) fn from_sdk<E>(
        operation: &'static str,
        uri: &S3Uri,
        error: SdkError<E, Response>,
    ) -> Self
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        let mut this = Self::local(ErrorKind::Network, operation, uri, "");
        if let Some(response) = error.raw_response() {
            this.status = Some(response.status().as_u16());
            let header = |name| response.headers().get(name).map(str::to_owned);
            this.request_id = header("x-amz-request-id");
            this.region = header("x-amz-bucket-region");
        }
        match &error {
            SdkError::ServiceError(service) => {
                let meta = service.err().meta();
                this.code = meta.code().map(str::to_owned);
                let said = meta.message().map(str::to_owned);
                this.text = said.unwrap_or_else(|| match this.status {
                    Some(status) => status_text(status),
                    None => chain(service.err()),
                });
                this.kind = classify(operation, this.code.as_deref(), this.status);
                if this.region.is_some() && matches!(this.status, Some(301 | 307 | 400)) {
                    this.kind = ErrorKind::WrongRegion;
                }
            }
            SdkError::ResponseError(_) => {
                // An answer that is cut off or no XML: like a broken connection.
                this.text = chain(&error);
            }
            SdkError::TimeoutError(_) => {
                this.kind = ErrorKind::Timeout;
                this.text = chain(&error);
            }
            _ => {
                let tls = find::<rustls::Error>(&error);
                if let Some(refused @ rustls::Error::InvalidCertificate(_)) = tls {
                    this.kind = ErrorKind::Untrusted;
                    this.text = refused.to_string();
                    return this;
                }
                this.kind = if find::<CredentialsError>(&error).is_some() {
                    ErrorKind::NoCredentials
                } else if matches!(&error, SdkError::DispatchFailure(f) if f.is_timeout()) {
                    ErrorKind::Timeout
                } else if matches!(&error, SdkError::DispatchFailure(_)) {
                    ErrorKind::Network
                } else {
                    ErrorKind::Invalid
                };
                this.text = chain(&error);
            }
        }
        this
    }

    /// Whether the same request may succeed when it is made again.
    pub fn retryable(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Throttled
                | ErrorKind::Timeout
                | ErrorKind::Network
                | ErrorKind::Checksum
                | ErrorKind::Server
        )
    }

    /// What a person can do about it.
    pub fn advice(&self) -> Option<String> {
        let fixed = match self.kind {
            ErrorKind::NotFound => "check the key (and the version) for spelling",
            ErrorKind::NoBucket => "check the bucket's name, and endpoint-uri if it is not on AWS",
            ErrorKind::Denied => match self.code.as_deref() {
                Some("InvalidAccessKeyId") => "the server does not know this access key",
                Some("SignatureDoesNotMatch") => {
                    "the secret access key does not belong to the access key"
                }
                _ => {
                    "these credentials may not do this: check the policy of user and bucket (for \
                      an object that may not exist, s3:ListBucket tells 404 from 403)"
                }
            },
            ErrorKind::NoCredentials => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE), or the \
                 properties access-key and secret-access-key; anonymous=true for public objects"
            }
            ErrorKind::Expired => "get new temporary credentials and run again",
            ErrorKind::WrongRegion => {
                return Some(match &self.region {
                    Some(region) => format!("the bucket is in {region}: set region={region}"),
                    None => "set region to the bucket's own".to_owned(),
                });
            }
            ErrorKind::ClockSkew => {
                "the clock of this machine is wrong: set it (timedatectl set-ntp true)"
            }
            ErrorKind::Changed => "nothing of the new object was used; start again to read that",
            ErrorKind::Exists => "nothing was replaced; choose another key or allow replacing",
            ErrorKind::Throttled => "ask for less at once (parallel), or try again later",
            ErrorKind::Timeout => "check the network, or give more time (request-timeout)",
            ErrorKind::Network => "check the network, endpoint-uri and region",
            ErrorKind::Untrusted => {
                "if the server is yours, name the file with its authority's certificate (PEM) by \
                 ca-bundle or AWS_CA_BUNDLE; otherwise check endpoint-uri and this machine's clock"
            }
            ErrorKind::Checksum => "the data was damaged on its way; try again",
            ErrorKind::Unsupported if self.operation == "GetObject" => {
                "reading needs a server that answers requests for ranges"
            }
            ErrorKind::Unsupported => {
                "the server lacks this: try checksum=crc32 or none, and fewer options"
            }
            ErrorKind::Server | ErrorKind::Invalid | ErrorKind::NoUpload => return None,
        };
        Some(fixed.to_owned())
    }
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of s3://{}/{}: {}",
            self.operation, self.bucket, self.key, self.text
        )?;
        let mut notes = Vec::new();
        if let Some(code) = &self.code {
            notes.push(format!("code {code}"));
        }
        if let Some(status) = self.status {
            notes.push(format!("HTTP {status}"));
        }
        if let Some(id) = &self.request_id {
            notes.push(format!("request id {id}"));
        }
        if self.attempts > 1 {
            notes.push(format!("tried {} times", self.attempts));
        }
        if !notes.is_empty() {
            write!(f, " ({})", notes.join(", "))?;
        }
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl Error for S3Error {}

fn classify(operation: &str, code: Option<&str>, status: Option<u16>) -> ErrorKind {
    let by_code = match code.unwrap_or_default() {
        "NoSuchKey" | "NoSuchVersion" | "NotFound" | "MethodNotAllowed" => ErrorKind::NotFound,
        "NoSuchBucket" => ErrorKind::NoBucket,
        "NoSuchUpload" => ErrorKind::NoUpload,
        "AccessDenied"
        | "AllAccessDisabled"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "AccountProblem"
        | "InvalidToken"
        | "Forbidden" => ErrorKind::Denied,
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired" => {
            ErrorKind::Expired
        }
        "RequestTimeTooSkewed" => ErrorKind::ClockSkew,
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => ErrorKind::WrongRegion,
        "PreconditionFailed" => precondition(operation),
        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequests" => ErrorKind::Throttled,
        "RequestTimeout" => ErrorKind::Timeout,
        "BadDigest"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch"
        | "InvalidDigest"
        | "IncompleteBody" => ErrorKind::Checksum,
        "InternalError"
        | "ServiceUnavailable"
        | "OperationAborted"
        | "ConditionalRequestConflict" => ErrorKind::Server,
        "NotImplemented" => ErrorKind::Unsupported,
        _ => match status.unwrap_or(0) {
            404 | 405 => ErrorKind::NotFound,
            401 | 403 => ErrorKind::Denied,
            301 | 307 => ErrorKind::WrongRegion,
            408 => ErrorKind::Timeout,
            409 => ErrorKind::Server,
            412 => precondition(operation),
            429 | 503 => ErrorKind::Throttled,
            501 => ErrorKind::Unsupported,
            500.. => ErrorKind::Server,
            _ => ErrorKind::Invalid,
        },
    };
    match (by_code, status) {
        // An access point or a bucket listing may answer 404 to an upload that is gone.
        (ErrorKind::NotFound, _)
            if matches!(
                operation,
                "UploadPart" | "CompleteMultipartUpload" | "ListParts"
            ) =>
        {
            ErrorKind::NoUpload
        }
        (kind, _) => kind,
    }
}

fn precondition(operation: &str) -> ErrorKind {
    match operation {
        "GetObject" | "HeadObject" => ErrorKind::Changed,
        _ => ErrorKind::Exists,
    }
}

fn status_text(status: u16) -> String {
    let reason = match status {
        301 | 307 => "the server sends us elsewhere",
        400 => "the server refuses the request without saying why",
        401 | 403 => "access denied",
        404 => "there is no such object",
        412 => "the condition does not hold (any more)",
        416 => "the range lies outside the object",
        429 | 503 => "the server asks to slow down",
        500..=599 => "the server failed",
        _ => "an unexpected answer",
    };
    reason.to_owned()
}

/// An error and its causes, each once. `Display` only: `Debug` of a request shows headers.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

/// An error of this type, or the first one among its causes.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // The source of an io::Error is that of what it holds, which would be passed over.
        cause = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let kind = |code, status| classify("GetObject", code, Some(status));
        assert_eq!(kind(Some("NoSuchKey"), 404), ErrorKind::NotFound);
        assert_eq!(kind(None, 404), ErrorKind::NotFound);
        assert_eq!(kind(None, 403), ErrorKind::Denied);
        assert_eq!(kind(Some("SlowDown"), 503), ErrorKind::Throttled);
        assert_eq!(kind(Some("Weird"), 500), ErrorKind::Server);
        assert_eq!(kind(Some("Weird"), 400), ErrorKind::Invalid);
        assert_eq!(kind(None, 412), ErrorKind::Changed);
        assert_eq!(classify("PutObject", None, Some(412)), ErrorKind::Exists);
        assert_eq!(
            classify("UploadPart", Some("NoSuchKey"), Some(404)),
            ErrorKind::NoUpload
        );
    }

    #[test]
    fn a_message_says_what_where_and_what_to_do() {
        let uri = S3Uri::from_parts("films", "a b.mp4").expect("a name");
        let mut error = S3Error::local(ErrorKind::WrongRegion, "HeadObject", &uri, "moved");
        error.status = Some(301);
        error.region = Some("eu-west-1".into());
        error.request_id = Some("4711".into());
        assert_eq!(
            error.to_string(),
            "HeadObject of s3://films/a b.mp4: moved (HTTP 301, request id 4711); \
             the bucket is in eu-west-1: set region=eu-west-1"
        );
    }
}
