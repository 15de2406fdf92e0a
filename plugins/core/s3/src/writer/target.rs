//! The requests of an upload.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    types::{
        ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, ServerSideEncryption,
    },
};
use aws_smithy_runtime_api::http::Response;
use bytes::Bytes;
use md5::{Digest, Md5};

use super::{
    Finished,
    body::{Sent, counted},
    options::WriteOptions,
};
use crate::{
    checksum::{Checksum, Sum},
    client::Client,
    error::{ErrorKind, S3Error},
    retry::retry,
    uri::S3Uri,
};

/// Times an upload is aborted until none of its parts is left.
const ABORTS: u32 = 3;
/// Most pages of a listing that are read.
const PAGES: usize = 20;
/// What completing takes longer for each part.
const COMPLETE_A_PART: Duration = Duration::from_millis(50);

/// The object that is written, and how.
#[derive(Debug)]
pub(super) struct Target {
    pub client: Arc<Client>,
    pub uri: S3Uri,
    pub options: WriteOptions,
    /// The media type, where the options say none.
    pub suggested: OnceLock<String>,
}

/// A part that is on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub etag: Option<String>,
    pub sum: Option<Sum>,
    pub size: u64,
    /// Whether an earlier run had uploaded it.
    pub resumed: bool,
}

/// A part of an upload that was broken off, as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub etag: Option<String>,
    pub sum: Option<String>,
    pub size: u64,
}

/// An upload under way: its id and what an earlier run left of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Upload {
    pub id: String,
    pub listed: BTreeMap<u32, Listed>,
}

impl Target {
    fn error(&self, kind: ErrorKind, operation: &'static str, text: impl Into<String>) -> S3Error {
        S3Error::local(kind, operation, &self.uri, text)
    }

    fn content_type(&self) -> Option<String> {
        let given = self.options.attributes.content_type.as_ref();
        given.or_else(|| self.suggested.get()).cloned()
    }

    /// Fails where the object exists and must not be replaced: sooner than its last byte.
    pub async fn check_absent(&self) -> Result<(), S3Error> {
        if !self.options.if_none_match {
            return Ok(());
        }
        match self.head(false).await {
            Ok(_) => {
                let text = "the object exists already";
                Err(self.error(ErrorKind::Exists, "HeadObject", text))
            }
            // Who may write need not be allowed to look; the server decides at the end.
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Denied) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn head(
        &self,
        sums: bool,
    ) -> Result<aws_sdk_s3::operation::head_object::HeadObjectOutput, S3Error> {
        let (client, uri) = (&self.client, &self.uri);
        client
            .call("HeadObject", uri, |_| {
                let request = client.sdk.head_object().bucket(&uri.bucket).key(&uri.key);
                let request = request
                    .set_checksum_mode(sums.then_some(ChecksumMode::Enabled))
                    .set_request_payer(client.payer());
                async {
                    request
                        .send()
                        .await
                        .map_err(|e| S3Error::from_sdk("HeadObject", uri, e))
                }
            })
            .await
    }

    /// Waits for a request with a body as long as it moves.
    async fn watched<T, E>(
        &self,
        operation: &'static str,
        sent: &Sent,
        request: impl Future<Output = Result<T, SdkError<E, Response>>>,
    ) -> Result<T, S3Error>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let connection = &self.client.connection;
        tokio::select! {
            answer = request => answer.map_err(|e| S3Error::from_sdk(operation, &self.uri, e)),
            limit = sent.stalled(connection.stall_timeout, connection.request_timeout) => {
                let text = format!("nothing moved for {} s", limit.as_secs_f32());
                Err(self.error(ErrorKind::Timeout, operation, text))
            }
        }
    }

    /// Compares what the server confirms of the bytes it received: their checksum or, from a
    /// server that takes no notice of checksums, their MD5, which the tag then is.
    async fn confirmed(
        &self,
        operation: &'static str,
        bytes: &Bytes,
        sum: Option<Sum>,
        answer: Confirmation<'_>,
    ) -> Result<(), S3Error> {
        let Some(sum) = sum else {
            return Ok(());
        };
        let etag = answer.etag.unwrap_or_default().trim_matches('"');
        // With keys of KMS or of the customer a tag looks like an MD5 and is none.
        let plain = answer
            .encryption
            .is_none_or(|e| *e == ServerSideEncryption::Aes256);
        let same = match answer.sum {
            Some(confirmed) => confirmed == sum.base64(),
            None if plain && is_md5(etag) => {
                let bytes = bytes.clone();
                // Milliseconds of work for a part: not on the threads that move bytes.
                let md5 = tokio::task::spawn_blocking(move || hex(&Md5::digest(&bytes))).await;
                md5.is_ok_and(|md5| md5.eq_ignore_ascii_case(etag))
            }
            None => true,
        };
        if same {
            return Ok(());
        }
        let text = "the server received other bytes than were sent";
        Err(self.error(ErrorKind::Checksum, operation, text))
    }

    /// Of the checksums a server states, the one that is used here.
    fn stated_sum<'a>(&self, crc32: Option<&'a str>, crc64: Option<&'a str>) -> Option<&'a str> {
        match self.options.checksum {
            Checksum::None => None,
            Checksum::Crc32 => crc32,
            Checksum::Crc64Nvme => crc64,
        }
    }

    /// Writes a small object by one request.
    pub async fn put(&self, bytes: Bytes) -> Result<Finished, S3Error> {
        const OPERATION: &str = "PutObject";
        let (client, uri, options) = (&self.client, &self.uri, &self.options);
        let size = bytes.len() as u64;
        let sum = options.checksum.of(&bytes);
        let attempts = client.connection.attempts;
        let answer = retry(attempts, |attempt| {
            let bytes = bytes.clone();
            async move {
                let sent = Sent::new(size);
                let a = &options.attributes;
                let request = client.sdk.put_object().bucket(&uri.bucket).key(&uri.key);
                let mut request = request
                    .content_length(size as i64)
                    .set_content_type(self.content_type())
                    .set_content_disposition(a.content_disposition.clone())
                    .set_content_encoding(a.content_encoding.clone())
                    .set_content_language(a.content_language.clone())
                    .set_cache_control(a.cache_control.clone())
                    .set_tagging(a.tagging())
                    .set_acl(a.acl())
                    .set_storage_class(a.storage_class())
                    .set_server_side_encryption(a.encryption.algorithm())
                    .set_ssekms_key_id(a.encryption.key_id())
                    .set_bucket_key_enabled(a.encryption.bucket_key())
                    .set_if_none_match(options.if_none_match.then(|| "*".to_owned()))
                    .set_request_payer(client.payer());
                for (name, value) in &a.metadata {
                    request = request.metadata(name, value);
                }
                match (options.checksum, sum) {
                    (Checksum::Crc32, Some(sum)) => request = request.checksum_crc32(sum.base64()),
                    (Checksum::Crc64Nvme, Some(sum)) => {
                        request = request.checksum_crc64_nvme(sum.base64());
                    }
                    _ => {}
                }
                let request = request.body(counted(bytes.clone(), sent.clone()));
                let request = request.customize().disable_payload_signing().send();
                let mut answer = self.watched(OPERATION, &sent, request).await;
                if let Ok(put) = &answer {
                    let answered = Confirmation {
                        sum: self.stated_sum(put.checksum_crc32(), put.checksum_crc64_nvme()),
                        etag: put.e_tag(),
                        encryption: put.server_side_encryption(),
                    };
                    let confirmed = self.confirmed(OPERATION, &bytes, sum, answered).await;
                    answer = confirmed.and(answer);
                }
                match answer {
                    // The answer to an earlier try may have been lost on its way.
                    Err(error) if attempt > 1 && error.kind == ErrorKind::Exists => {
                        let md5 = hex(&Md5::digest(&bytes));
                        let found = self.landed(size, sum, Some(&md5)).await;
                        found.map(Answer::Landed).ok_or(error)
                    }
                    answer => answer.map(|a| Answer::Given(Box::new(a))),
                }
            }
        })
        .await?;
        let sum = sum.map(Sum::base64);
        Ok(match answer {
            Answer::Landed(finished) => finished,
            Answer::Given(answer) => Finished {
                size,
                parts: 0,
                etag: answer.e_tag,
                version_id: answer.version_id,
                checksum: sum,
            },
        })
    }

    /// Begins an upload in parts, or takes up one that was broken off.
    pub async fn begin(&self) -> Result<Upload, S3Error> {
        if self.options.resume
            && let Some(upload) = self.find().await?
        {
            return Ok(upload);
        }
        let id = self.create().await?;
        Ok(Upload {
            id,
            listed: BTreeMap::new(),
        })
    }

    async fn create(&self) -> Result<String, S3Error> {
        const OPERATION: &str = "CreateMultipartUpload";
        let (client, uri, options) = (&self.client, &self.uri, &self.options);
        let answer = client
            .call(OPERATION, uri, |_| {
                let a = &options.attributes;
                let request = client.sdk.create_multipart_upload();
                let request = request.bucket(&uri.bucket).key(&uri.key);
                let algorithm = options.checksum.algorithm();
                let mut request = request
                    .set_checksum_type(algorithm.is_some().then_some(ChecksumType::FullObject))
                    .set_checksum_algorithm(algorithm)
                    .set_content_type(self.content_type())
                    .set_content_disposition(a.content_disposition.clone())
                    .set_content_encoding(a.content_encoding.clone())
                    .set_content_language(a.content_language.clone())
                    .set_cache_control(a.cache_control.clone())
                    .set_tagging(a.tagging())
                    .set_acl(a.acl())
                    .set_storage_class(a.storage_class())
                    .set_server_side_encryption(a.encryption.algorithm())
                    .set_ssekms_key_id(a.encryption.key_id())
                    .set_bucket_key_enabled(a.encryption.bucket_key())
                    .set_request_payer(client.payer());
                for (name, value) in &a.metadata {
                    request = request.metadata(name, value);
                }
                async {
                    request
                        .send()
                        .await
                        .map_err(|e| S3Error::from_sdk(OPERATION, uri, e))
                }
            })
            .await?;
        answer.upload_id.filter(|id| !id.is_empty()).ok_or_else(|| {
            self.error(
                ErrorKind::Server,
                OPERATION,
                "the server gives the upload no id",
            )
        })
    }

    /// The upload of this key that was begun last, if there is one that can be gone on with.
    async fn find(&self) -> Result<Option<Upload>, S3Error> {
        const OPERATION: &str = "ListMultipartUploads";
        let (client, uri) = (&self.client, &self.uri);
        let mut newest = None;
        let (mut key_marker, mut id_marker) = (None, None);
        for _ in 0..PAGES {
            let asked = client.call(OPERATION, uri, |_| {
                let request = client.sdk.list_multipart_uploads().bucket(&uri.bucket);
                let request = request
                    .prefix(&uri.key)
                    .set_key_marker(key_marker.clone())
                    .set_upload_id_marker(id_marker.clone())
                    .set_request_payer(client.payer());
                async {
                    request
                        .send()
                        .await
                        .map_err(|e| S3Error::from_sdk(OPERATION, uri, e))
                }
            });
            let page = match asked.await {
                Ok(page) => page,
                // A server that cannot list uploads has none that could be found again.
                Err(error) if error.kind == ErrorKind::Unsupported => return Ok(None),
                Err(error) => return Err(error),
            };
            for upload in page.uploads() {
                let same = upload.key() == Some(uri.key.as_str());
                // Servers are known that do not say it; then the parts' own sums decide.
                let algorithm = self.options.checksum.algorithm();
                let fits = upload
                    .checksum_algorithm()
                    .is_none_or(|a| algorithm.as_ref() == Some(a));
                let begun = upload.initiated().map(|t| (t.secs(), t.subsec_nanos()));
                if let (true, true, Some(id)) = (same, fits, upload.upload_id())
                    && newest.as_ref().is_none_or(|(last, _)| *last <= begun)
                {
                    newest = Some((begun, id.to_owned()));
                }
            }
            if page.is_truncated() != Some(true) {
                break;
            }
            key_marker = page.next_key_marker().map(str::to_owned);
            id_marker = page.next_upload_id_marker().map(str::to_owned);
            // A page that leads nowhere would be asked for again and again.
            if key_marker.is_none() && id_marker.is_none() {
                break;
            }
        }
        let Some((_, id)) = newest else {
            return Ok(None);
        };
        let listed = self.list(&id).await?;
        Ok(listed.map(|listed| Upload { id, listed }))
    }

    /// The parts of an upload; `None` when it is gone.
    async fn list(&self, id: &str) -> Result<Option<BTreeMap<u32, Listed>>, S3Error> {
        const OPERATION: &str = "ListParts";
        let (client, uri) = (&self.client, &self.uri);
        let mut listed = BTreeMap::new();
        let mut marker: Option<String> = None;
        for _ in 0..PAGES {
            let asked = client.call(OPERATION, uri, |_| {
                let request = client.sdk.list_parts().bucket(&uri.bucket).key(&uri.key);
                let request = request
                    .upload_id(id)
                    .set_part_number_marker(marker.clone())
                    .set_request_payer(client.payer());
                async {
                    request
                        .send()
                        .await
                        .map_err(|e| S3Error::from_sdk(OPERATION, uri, e))
                }
            });
            let page = match asked.await {
                Ok(page) => page,
                Err(error) if error.kind == ErrorKind::NoUpload => return Ok(None),
                Err(error) => return Err(error),
            };
            for part in page.parts() {
                let number = part.part_number().and_then(|n| u32::try_from(n).ok());
                let size = part.size().and_then(|n| u64::try_from(n).ok());
                let (Some(number), Some(size)) = (number, size) else {
                    continue;
                };
                let sum = self.stated_sum(part.checksum_crc32(), part.checksum_crc64_nvme());
                listed.insert(
                    number,
                    Listed {
                        etag: part.e_tag().map(str::to_owned),
                        sum: sum.map(str::to_owned),
                        size,
                    },
                );
            }
            let next = page.next_part_number_marker().map(str::to_owned);
            if page.is_truncated() != Some(true) || next.is_none() || next == marker {
                break;
            }
            marker = next;
        }
        Ok(Some(listed))
    }

    /// Uploads a part, unless an earlier run did so with the same bytes.
    pub async fn part(
        &self,
        upload: &Upload,
        number: u32,
        bytes: Bytes,
        retried: impl Fn(),
    ) -> Result<Part, S3Error> {
        const OPERATION: &str = "UploadPart";
        let (client, uri, options) = (&self.client, &self.uri, &self.options);
        let size = bytes.len() as u64;
        let sum = options.checksum.of(&bytes);
        if let Some(listed) = upload.listed.get(&number)
            && listed.is_of(&bytes, sum)
        {
            return Ok(Part {
                etag: listed.etag.clone(),
                sum,
                size,
                resumed: true,
            });
        }
        let answer = retry(client.connection.attempts, |attempt| {
            if attempt > 1 {
                retried();
            }
            let sent = Sent::new(size);
            let request = client.sdk.upload_part().bucket(&uri.bucket).key(&uri.key);
            let request = request
                .upload_id(&upload.id)
                .part_number(number as i32)
                .content_length(size as i64)
                .set_request_payer(client.payer());
            let request = match (options.checksum, sum) {
                (Checksum::Crc32, Some(sum)) => request.checksum_crc32(sum.base64()),
                (Checksum::Crc64Nvme, Some(sum)) => request.checksum_crc64_nvme(sum.base64()),
                _ => request,
            };
            let request = request.body(counted(bytes.clone(), sent.clone()));
            let request = request.customize().disable_payload_signing().send();
            let bytes = &bytes;
            async move {
                let put = self.watched(OPERATION, &sent, request).await?;
                let answered = Confirmation {
                    sum: self.stated_sum(put.checksum_crc32(), put.checksum_crc64_nvme()),
                    etag: put.e_tag(),
                    encryption: put.server_side_encryption(),
                };
                self.confirmed(OPERATION, bytes, sum, answered).await?;
                Ok(put)
            }
        })
        .await?;
        Ok(Part {
            etag: answer.e_tag,
            sum,
            size,
            resumed: false,
        })
    }

    /// Makes the object of its parts.
    pub async fn complete(
        &self,
        upload: &Upload,
        parts: &BTreeMap<u32, Part>,
    ) -> Result<Finished, S3Error> {
        const OPERATION: &str = "CompleteMultipartUpload";
        let (client, uri, options) = (&self.client, &self.uri, &self.options);
        let size = parts.values().map(|p| p.size).sum::<u64>();
        let sums = parts.values().map(|p| p.sum);
        let sum = sums.reduce(|a, b| Some(a?.followed_by(b?))).flatten();
        let listed = parts.iter().map(|(number, part)| {
            let built = CompletedPart::builder()
                .part_number(*number as i32)
                .set_e_tag(part.etag.clone());
            let sum = part.sum.map(Sum::base64);
            match options.checksum {
                Checksum::None => built,
                Checksum::Crc32 => built.set_checksum_crc32(sum),
                Checksum::Crc64Nvme => built.set_checksum_crc64_nvme(sum),
            }
            .build()
        });
        let listed = CompletedMultipartUpload::builder()
            .set_parts(Some(listed.collect()))
            .build();
        // Servers are known that compare the whole's checksum with one of the parts' checksums. Each
        // part was confirmed by itself, so the second try goes without that of the whole.
        let refused = AtomicBool::new(false);
        let limit = client.connection.request_timeout * 2 + COMPLETE_A_PART * parts.len() as u32;
        let answer = retry(client.connection.attempts, |attempt| {
            let refused = &refused;
            let whole = sum.filter(|_| !refused.load(Relaxed));
            let request = client.sdk.complete_multipart_upload();
            let request = request.bucket(&uri.bucket).key(&uri.key);
            let request = request
                .upload_id(&upload.id)
                .multipart_upload(listed.clone())
                .mpu_object_size(size as i64)
                .set_checksum_type(whole.map(|_| ChecksumType::FullObject))
                .set_if_none_match(options.if_none_match.then(|| "*".to_owned()))
                .set_request_payer(client.payer());
            let request = match (options.checksum, whole) {
                (Checksum::Crc32, Some(sum)) => request.checksum_crc32(sum.base64()),
                (Checksum::Crc64Nvme, Some(sum)) => request.checksum_crc64_nvme(sum.base64()),
                _ => request,
            };
            async move {
                let answer = match tokio::time::timeout(limit, request.send()).await {
                    Ok(answer) => answer.map_err(|e| S3Error::from_sdk(OPERATION, uri, e)),
                    Err(_) => {
                        let text = format!("no answer within {} s", limit.as_secs_f32());
                        Err(self.error(ErrorKind::Timeout, OPERATION, text))
                    }
                };
                if answer
                    .as_ref()
                    .is_err_and(|e| e.kind == ErrorKind::Checksum)
                {
                    refused.store(true, Relaxed);
                }
                match answer {
                    // The answer to an earlier try may have been lost on its way: then the upload
                    // is gone and the object is there.
                    Err(error) if attempt > 1 && !error.retryable() => {
                        let etag = etag_of_parts(parts);
                        let found = self.landed(size, sum, etag.as_deref()).await;
                        found.map(Answer::Landed).ok_or(error)
                    }
                    answer => answer.map(|a| Answer::Given(Box::new(a))),
                }
            }
        })
        .await?;
        let finished = match answer {
            Answer::Landed(finished) => finished,
            Answer::Given(answer) => Finished {
                size,
                parts: 0,
                etag: answer.e_tag,
                version_id: answer.version_id,
                checksum: sum.map(Sum::base64),
            },
        };
        Ok(Finished {
            parts: parts.len() as u32,
            ..finished
        })
    }

    /// Whether the object is there with these bytes: by its length and a checksum or a tag.
    async fn landed(&self, size: u64, sum: Option<Sum>, tag: Option<&str>) -> Option<Finished> {
        let head = self.head(true).await.ok()?;
        let found = self.stated_sum(head.checksum_crc32(), head.checksum_crc64_nvme());
        let sum = sum.map(Sum::base64);
        let etag = head.e_tag().map(|e| e.trim_matches('"'));
        let same_length = head.content_length() == i64::try_from(size).ok();
        let same_bytes = match (found, &sum) {
            (Some(found), Some(sum)) if !found.contains('-') => found == sum,
            _ => tag.is_some() && etag == tag,
        };
        (same_length && same_bytes).then(|| Finished {
            size,
            parts: 0,
            etag: head.e_tag().map(str::to_owned),
            version_id: head.version_id().map(str::to_owned),
            checksum: sum,
        })
    }

    /// Leaves nothing of an upload. A part that was on its way may arrive after the upload was
    /// aborted, so it is looked whether any did.
    pub async fn abort(&self, id: &str) -> Result<(), S3Error> {
        const OPERATION: &str = "AbortMultipartUpload";
        let (client, uri) = (&self.client, &self.uri);
        for _ in 0..ABORTS {
            let asked = client
                .call(OPERATION, uri, |_| {
                    let request = client.sdk.abort_multipart_upload();
                    let request = request.bucket(&uri.bucket).key(&uri.key);
                    let request = request.upload_id(id).set_request_payer(client.payer());
                    async {
                        request
                            .send()
                            .await
                            .map_err(|e| S3Error::from_sdk(OPERATION, uri, e))
                    }
                })
                .await;
            match asked {
                Ok(_) => {}
                Err(e) if matches!(e.kind, ErrorKind::NoUpload | ErrorKind::NotFound) => {}
                Err(e) => return Err(e),
            }
            match self.list(id).await {
                Ok(Some(parts)) if !parts.is_empty() => {}
                // Gone, or a server that will not say.
                _ => return Ok(()),
            }
        }
        let text = "parts of the upload are still there after it was aborted";
        Err(self.error(ErrorKind::Server, OPERATION, text))
    }
}

/// What a server says of the bytes it received.
struct Confirmation<'a> {
    sum: Option<&'a str>,
    etag: Option<&'a str>,
    encryption: Option<&'a ServerSideEncryption>,
}

/// What a request came to that may have succeeded earlier than it seemed.
enum Answer<T> {
    Landed(Finished),
    Given(Box<T>),
}

impl Listed {
    /// Whether the part holds these bytes. A server that gives neither a checksum nor an MD5 has
    /// not shown that it does.
    fn is_of(&self, bytes: &[u8], sum: Option<Sum>) -> bool {
        if self.size != bytes.len() as u64 {
            return false;
        }
        match (&self.sum, sum) {
            (Some(listed), Some(sum)) => *listed == sum.base64(),
            _ => {
                let etag = self.etag.as_deref().unwrap_or_default().trim_matches('"');
                is_md5(etag) && etag.eq_ignore_ascii_case(&hex(&Md5::digest(bytes)))
            }
        }
    }
}

fn is_md5(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The tag of an object in parts: the MD5 of their MD5s, and their number. `None` where the tags
/// of the parts are no MD5s (as with KMS).
fn etag_of_parts(parts: &BTreeMap<u32, Part>) -> Option<String> {
    let mut all = Md5::new();
    for part in parts.values() {
        let etag = part.etag.as_deref()?.trim_matches('"');
        if !is_md5(etag) {
            return None;
        }
        let digits = etag.as_bytes().chunks(2);
        let bytes = digits.map(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok());
        all.update(bytes.collect::<Option<Vec<u8>>>()?);
    }
    Some(format!("{}-{}", hex(&all.finalize()), parts.len()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_listed_part_is_taken_over_only_when_its_bytes_are_proven() {
        let sum = Checksum::Crc32.of(b"abc");
        let listed = |etag: Option<&str>, sum: Option<&str>, size| Listed {
            etag: etag.map(str::to_owned),
            sum: sum.map(str::to_owned),
            size,
        };
        let right = sum.unwrap().base64();
        assert!(listed(None, Some(&right), 3).is_of(b"abc", sum));
        assert!(!listed(None, Some("AAAAAA=="), 3).is_of(b"abc", sum));
        assert!(!listed(None, Some(&right), 4).is_of(b"abc", sum));
        let md5 = "\"900150983cd24fb0d6963f7d28e17f72\"";
        assert!(listed(Some(md5), None, 3).is_of(b"abc", sum));
        assert!(!listed(Some(md5), None, 3).is_of(b"abd", sum));
        assert!(
            !listed(None, None, 3).is_of(b"abc", sum),
            "size alone proves nothing"
        );
        assert!(!listed(Some("\"x-1\""), None, 3).is_of(b"abc", sum));
    }

    #[test]
    fn the_tag_of_parts() {
        let part = |etag: &str| Part {
            etag: Some(etag.into()),
            sum: None,
            size: 1,
            resumed: false,
        };
        let md5 = "\"900150983cd24fb0d6963f7d28e17f72\"";
        let parts = BTreeMap::from([(1, part(md5)), (2, part(md5))]);
        // printf '900150983cd24fb0d6963f7d28e17f72%.0s' 1 2 | xxd -r -p | md5sum
        assert_eq!(
            etag_of_parts(&parts).as_deref(),
            Some("043a916d6cfeecedf5e04f0312ba762d-2")
        );
        let parts = BTreeMap::from([(1, part("\"kms\""))]);
        assert_eq!(etag_of_parts(&parts), None);
    }
}
