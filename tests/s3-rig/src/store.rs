//! What S3 does and s3s-fs does not: conditions on reads, checksums of parts, uploads that do
//! not exist, and never a mix of an old object and a new one; and the ways of the bytes made
//! short, so that a benchmark measures its clients.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::*;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3, S3Request, S3Response, S3Result, StdError, TrailingHeaders, s3_error};
use s3s_fs::FileSystem;
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufWriter};
use tokio::sync::RwLock;

use crate::server::PendingUpload;

/// As many bytes of a file are read at once.
const READ_BYTES: usize = 256 * 1024;
/// PutObject is held in memory until its checksums are known to be right.
const MAX_PUT_BYTES: usize = 256 * 1024 * 1024;
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;

/// Runs a line for each kind of checksum, with its field in the hasher, its field in inputs and
/// outputs, its header and its name as an algorithm.
macro_rules! each_sum {
    ($apply:ident) => {
        $apply!(crc32, checksum_crc32, "x-amz-checksum-crc32", CRC32);
        $apply!(crc32c, checksum_crc32c, "x-amz-checksum-crc32c", CRC32C);
        $apply!(
            crc64nvme,
            checksum_crc64nvme,
            "x-amz-checksum-crc64nvme",
            CRC64NVME
        );
        $apply!(sha1, checksum_sha1, "x-amz-checksum-sha1", SHA1);
        $apply!(sha256, checksum_sha256, "x-amz-checksum-sha256", SHA256);
    };
}

/// Takes the checksums that a request gives out of its input.
macro_rules! given_sums {
    ($input:expr) => {{
        let mut given = Checksum::default();
        macro_rules! take {
            ($short:ident, $field:ident, $header:expr, $name:ident) => {
                given.$field = $input.$field.take();
            };
        }
        each_sum!(take);
        given
    }};
}

/// The objects in a folder.
#[derive(Debug)]
pub(crate) struct Store {
    inner: FileSystem,
    root: PathBuf,
    /// Held for writing while an object comes to bear its name.
    names: Arc<RwLock<()>>,
    /// Parts get ETags that cost nothing to compute.
    cheap_etags: bool,
    tags: AtomicU64,
}

impl Store {
    pub(crate) fn new(
        inner: FileSystem,
        root: &Path,
        names: Arc<RwLock<()>>,
        cheap_etags: bool,
    ) -> Self {
        Self {
            inner,
            root: root.to_owned(),
            names,
            cheap_etags,
            tags: AtomicU64::new(0),
        }
    }

    fn bucket(&self, bucket: &str) -> S3Result<()> {
        if self.root.join(bucket).is_dir() {
            Ok(())
        } else {
            Err(s3_error!(
                NoSuchBucket,
                "The bucket {bucket} does not exist"
            ))
        }
    }

    fn object(&self, bucket: &str, key: &str) -> S3Result<PathBuf> {
        let strange = |part: &str| matches!(part, "" | "." | "..");
        if key.trim_end_matches('/').split('/').any(strange) {
            return Err(s3_error!(
                InvalidArgument,
                "This server keeps no object called {key:?}"
            ));
        }
        Ok(self.root.join(bucket).join(key))
    }

    /// The ETag of an object, if there is one.
    fn tag(&self, bucket: &str, key: &str) -> S3Result<Option<ETag>> {
        let path = self.object(bucket, key)?;
        if !path.is_file() {
            return Ok(None);
        }
        let info = fs::read(self.root.join(info_name(bucket, key))).unwrap_or_default();
        let noted = serde_json::from_slice(&info).ok();
        let tag = match noted.and_then(|info: Value| text(&info, "e_tag")) {
            Some(tag) => tag,
            // Somebody else put the file there.
            None => hex(&Md5::checksum(&fs::read(path).map_err(internal)?)),
        };
        Ok(Some(ETag::Strong(tag)))
    }

    /// An ETag that no other part has, and that is no checksum: S3 has such, too.
    fn another_tag(&self) -> String {
        let number = self.tags.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}{number:016x}", std::process::id())
    }

    fn temporary(&self) -> S3Result<NamedTempFile> {
        tempfile::Builder::new()
            .prefix(".put-")
            .tempfile_in(&self.root)
            .map_err(internal)
    }

    /// That there is such an upload of this object.
    fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<()> {
        self.bucket(bucket)?;
        let sound = !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let there = sound
            && self.root.join(format!(".upload-{id}.json")).is_file()
            && self.root.join(upload_name(bucket, key, id)).is_file();
        if there {
            Ok(())
        } else {
            Err(s3_error!(NoSuchUpload, "The upload {id} does not exist"))
        }
    }

    fn part_path(&self, id: &str, number: i32) -> PathBuf {
        self.root.join(format!(".upload_id-{id}.part-{number}"))
    }

    fn sums_path(&self, id: &str, number: i32) -> PathBuf {
        self.root.join(format!(".upload_id-{id}.sums-{number}"))
    }

    /// The parts of an upload, ascending.
    fn parts(&self, id: &str) -> S3Result<Vec<Part>> {
        let mut parts = Vec::new();
        let prefix = format!(".upload_id-{id}.part-");
        for entry in fs::read_dir(&self.root).map_err(internal)? {
            let entry = entry.map_err(internal)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let number = name
                .strip_prefix(&prefix)
                .and_then(|number| number.parse().ok());
            let (Some(number), Ok(about)) = (number, entry.metadata()) else {
                continue;
            };
            // Written last: without it, the part is not there yet.
            let Ok(sums) = fs::read(self.sums_path(id, number)) else {
                continue;
            };
            let sums: Value = serde_json::from_slice(&sums).map_err(internal)?;
            let mut part = Part {
                part_number: Some(number),
                size: i64::try_from(about.len()).ok(),
                last_modified: about.modified().ok().map(Timestamp::from),
                e_tag: text(&sums, "e_tag").map(ETag::Strong),
                ..Default::default()
            };
            macro_rules! fill {
                ($short:ident, $field:ident, $header:expr, $name:ident) => {
                    part.$field = text(&sums, stringify!($field));
                };
            }
            each_sum!(fill);
            parts.push(part);
        }
        parts.sort_by_key(|part| part.part_number);
        Ok(parts)
    }

    /// That a completion names parts that are there, and may be put together.
    fn check_completion(&self, input: &CompleteMultipartUploadInput) -> S3Result<Vec<Part>> {
        let named = input
            .multipart_upload
            .as_ref()
            .and_then(|upload| upload.parts.as_ref());
        let there = self.parts(&input.upload_id)?;
        let (mut last, mut total) = (0, 0);
        let mut taken = Vec::new();
        let count = named.map_or(0, Vec::len);
        if count == 0 {
            return Err(s3_error!(MalformedXML, "There is no part in it"));
        }
        for (at, named) in named.into_iter().flatten().enumerate() {
            let number = named.part_number.ok_or_else(|| s3_error!(MalformedXML))?;
            if number <= last {
                return Err(s3_error!(InvalidPartOrder));
            }
            last = number;
            let part = there
                .iter()
                .find(|part| part.part_number == Some(number))
                .ok_or_else(|| s3_error!(InvalidPart, "Part {number} was not uploaded"))?;
            let same =
                named.e_tag.as_ref().map(ETag::value) == part.e_tag.as_ref().map(ETag::value);
            let mut sums = same;
            macro_rules! compare {
                ($short:ident, $field:ident, $header:expr, $name:ident) => {
                    sums &= named.$field.is_none() || named.$field == part.$field;
                };
            }
            each_sum!(compare);
            if !sums {
                return Err(s3_error!(InvalidPart, "Part {number} is another one"));
            }
            let size = part.size.unwrap_or(0).unsigned_abs();
            if size < MIN_PART_BYTES && at + 1 < count {
                return Err(s3_error!(EntityTooSmall, "Part {number} has {size} bytes"));
            }
            total += size;
            taken.push(part.clone());
        }
        match input.mpu_object_size {
            Some(size) if u64::try_from(size) != Ok(total) => Err(s3_error!(
                InvalidRequest,
                "The parts have {total} bytes, not {size}"
            )),
            _ => Ok(taken),
        }
    }

    /// Checks and returns the whole object's checksums, where a completion gives any.
    async fn check_whole(
        &self,
        input: &mut CompleteMultipartUploadInput,
        parts: &[Part],
    ) -> S3Result<Checksum> {
        let mut given = given_sums!(input);
        let mut hasher = ChecksumHasher::default();
        let mut any = false;
        macro_rules! want {
            ($short:ident, $field:ident, $header:expr, $name:ident) => {
                // A checksum of the parts' checksums ends in their number; it is not looked at.
                given.$field = given.$field.take().filter(|sum| !sum.contains('-'));
                if given.$field.is_some() {
                    hasher.$short = Some(Default::default());
                    any = true;
                }
            };
        }
        each_sum!(want);
        if any {
            let mut buffer = vec![0; READ_BYTES];
            for part in parts {
                let path = self.part_path(&input.upload_id, part.part_number.unwrap_or(0));
                let mut file = tokio::fs::File::open(path).await.map_err(internal)?;
                loop {
                    let read = file.read(&mut buffer).await.map_err(internal)?;
                    if read == 0 {
                        break;
                    }
                    hasher.update(&buffer[..read]);
                }
            }
        }
        compare_sums(&given, &hasher.finalize())?;
        Ok(given)
    }
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.inner.create_bucket(req).await
    }

    async fn delete_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.inner.delete_bucket(req).await
    }

    async fn head_bucket(
        &self,
        req: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.inner.head_bucket(req).await
    }

    async fn list_buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        self.inner.list_buckets(req).await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.inner.get_bucket_location(req).await
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        self.bucket(&req.input.bucket)?;
        self.inner.list_objects(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.bucket(&req.input.bucket)?;
        self.inner.list_objects_v2(req).await
    }

    async fn copy_object(
        &self,
        req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        self.bucket(&req.input.bucket)?;
        let _alone = self.names.write().await;
        self.inner.copy_object(req).await
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.bucket(&req.input.bucket)?;
        let path = self.object(&req.input.bucket, &req.input.key)?;
        let _alone = self.names.write().await;
        if !path.exists() {
            return Ok(S3Response::new(DeleteObjectOutput::default()));
        }
        self.inner.delete_object(req).await
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.bucket(&req.input.bucket)?;
        let _alone = self.names.write().await;
        self.inner.delete_objects(req).await
    }

    async fn head_object(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let (if_match, if_none_match) =
            (req.input.if_match.clone(), req.input.if_none_match.clone());
        no_versions(req.input.version_id.as_deref())?;
        self.bucket(&req.input.bucket)?;
        let _named = self.names.read().await;
        let answer = self.inner.head_object(req).await?;
        conditions(
            if_match.as_ref(),
            if_none_match.as_ref(),
            answer.output.e_tag.as_ref(),
        )?;
        Ok(answer)
    }

    async fn get_object(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = &req.input;
        let (if_match, if_none_match) = (input.if_match.clone(), input.if_none_match.clone());
        no_versions(input.version_id.as_deref())?;
        self.bucket(&input.bucket)?;
        let (range, path) = (input.range, self.object(&input.bucket, &input.key)?);
        let _named = self.names.read().await;
        let mut answer = self.inner.get_object(req).await?;
        let output = &mut answer.output;
        conditions(
            if_match.as_ref(),
            if_none_match.as_ref(),
            output.e_tag.as_ref(),
        )?;
        // The same bytes in larger pieces.
        let mut file = tokio::fs::File::open(&path).await.map_err(internal)?;
        let size = file.metadata().await.map_err(internal)?.len();
        let bytes = match range {
            Some(range) => range.check(size)?,
            None => 0..size,
        };
        file.seek(io::SeekFrom::Start(bytes.start))
            .await
            .map_err(internal)?;
        let length = bytes.end - bytes.start;
        let stream = tokio_util::io::ReaderStream::with_capacity(file.take(length), READ_BYTES);
        output.body = Some(StreamingBlob::wrap(stream));
        Ok(answer)
    }

    async fn put_object(
        &self,
        mut req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.bucket(&req.input.bucket)?;
        let body = req
            .input
            .body
            .take()
            .ok_or_else(|| s3_error!(IncompleteBody))?;
        let mut given = given_sums!(req.input);
        let algorithm = req.input.checksum_algorithm.take();
        let content_md5 = req.input.content_md5.take();
        let trailer = req
            .headers
            .get("x-amz-trailer")
            .and_then(|value| value.to_str().ok());
        let with_md5 = content_md5.is_some();
        let mut body = Summed::new(body, &given, algorithm.as_ref(), trailer, with_md5);
        let sums = body.sums();
        let mut bytes = BytesMut::new();
        while let Some(piece) = next(&mut body).await {
            let piece = piece.map_err(broken_body)?;
            if bytes.len() + piece.len() > MAX_PUT_BYTES {
                return Err(s3_error!(
                    EntityTooLarge,
                    "This server takes 256 MiB at once"
                ));
            }
            bytes.extend_from_slice(&piece);
        }
        let (md5, found) = sums.finish();
        from_trailers(&mut given, req.trailing_headers.take());
        compare_md5(content_md5, md5)?;
        compare_sums(&given, &found)?;

        macro_rules! keep {
            ($short:ident, $field:ident, $header:expr, $name:ident) => {
                req.input.$field = given.$field;
            };
        }
        each_sum!(keep);
        req.input.content_length = i64::try_from(bytes.len()).ok();
        req.input.body = Some(StreamingBlob::from(s3s::Body::from(bytes.freeze())));
        let _alone = self.names.write().await;
        self.inner.put_object(req).await
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.bucket(&req.input.bucket)?;
        let algorithm = req.input.checksum_algorithm.clone();
        let kind = req.input.checksum_type.clone();
        let mut answer = self.inner.create_multipart_upload(req).await?;
        answer.output.checksum_algorithm = algorithm;
        answer.output.checksum_type = kind;
        Ok(answer)
    }

    async fn upload_part(
        &self,
        mut req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = &mut req.input;
        let (bucket, key, id) = (
            input.bucket.clone(),
            input.key.clone(),
            input.upload_id.clone(),
        );
        let number = input.part_number;
        self.upload(&bucket, &key, &id)?;
        if !(1..=10_000).contains(&number) {
            return Err(s3_error!(InvalidArgument, "There is no part {number}"));
        }
        let body = input.body.take().ok_or_else(|| s3_error!(IncompleteBody))?;
        let mut given = given_sums!(input);
        let algorithm = input.checksum_algorithm.take();
        let content_md5 = input.content_md5.take();
        let trailer = req
            .headers
            .get("x-amz-trailer")
            .and_then(|value| value.to_str().ok());
        let with_md5 = !self.cheap_etags || content_md5.is_some();
        let mut body = Summed::new(body, &given, algorithm.as_ref(), trailer, with_md5);
        let sums = body.sums();

        // Under another name until it is known to be good; removed if this is given up.
        let file = self.temporary()?;
        let mut writer = BufWriter::with_capacity(
            READ_BYTES,
            tokio::fs::File::from_std(file.reopen().map_err(internal)?),
        );
        while let Some(piece) = next(&mut body).await {
            let piece = piece.map_err(broken_body)?;
            writer.write_all(&piece).await.map_err(internal)?;
        }
        writer.flush().await.map_err(internal)?;
        drop(writer);
        let (md5, found) = sums.finish();
        from_trailers(&mut given, req.trailing_headers.take());
        compare_md5(content_md5, md5)?;
        compare_sums(&given, &found)?;

        let tag = match md5 {
            Some(sum) => hex(&sum),
            None => self.another_tag(),
        };
        let mut output = UploadPartOutput {
            e_tag: Some(ETag::Strong(tag.clone())),
            ..Default::default()
        };
        let mut noted = Map::new();
        noted.insert("e_tag".to_owned(), tag.into());
        macro_rules! note {
            ($short:ident, $field:ident, $header:expr, $name:ident) => {
                if let Some(sum) = &found.$field {
                    noted.insert(stringify!($field).to_owned(), sum.as_str().into());
                }
                output.$field = found.$field;
            };
        }
        each_sum!(note);
        let noted = Value::Object(noted).to_string();
        // Completion and abortion are shut out, so that nothing is left of an upload that ended
        // while this part came.
        let _alone = self.names.write().await;
        self.upload(&bucket, &key, &id)?;
        file.persist(self.part_path(&id, number))
            .map_err(internal)?;
        fs::write(self.sums_path(&id, number), noted).map_err(internal)?;
        Ok(S3Response::new(output))
    }

    async fn list_parts(
        &self,
        req: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = req.input;
        self.upload(&input.bucket, &input.key, &input.upload_id)?;
        let after = input.part_number_marker.unwrap_or(0);
        let limit = input.max_parts.unwrap_or(1000).clamp(1, 1000);
        let mut parts = self.parts(&input.upload_id)?;
        parts.retain(|part| part.part_number.unwrap_or(0) > after);
        let more = parts.len() > limit.unsigned_abs() as usize;
        parts.truncate(limit.unsigned_abs() as usize);
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            is_truncated: Some(more),
            max_parts: Some(limit),
            part_number_marker: Some(after),
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            parts: Some(parts),
            ..Default::default()
        }))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        self.bucket(&input.bucket)?;
        let mut uploads = Vec::new();
        for upload in pending(&self.root).map_err(internal)? {
            let key = upload.key.unwrap_or_default();
            let wanted = input
                .prefix
                .as_deref()
                .is_none_or(|prefix| key.starts_with(prefix));
            let begun = self.root.join(format!(".upload-{}.json", upload.upload_id));
            let begun = fs::metadata(begun);
            if let (Some(bucket), true, Ok(begun)) = (upload.bucket, wanted, begun)
                && bucket == input.bucket
            {
                uploads.push(MultipartUpload {
                    key: Some(key),
                    upload_id: Some(upload.upload_id),
                    initiated: begun.modified().ok().map(Timestamp::from),
                    ..Default::default()
                });
            }
        }
        uploads.sort_by(|a, b| (&a.key, &a.upload_id).cmp(&(&b.key, &b.upload_id)));
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            is_truncated: Some(false),
            uploads: Some(uploads),
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        mut req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = &mut req.input;
        let (bucket, key, id) = (
            input.bucket.clone(),
            input.key.clone(),
            input.upload_id.clone(),
        );
        self.upload(&bucket, &key, &id)?;
        let parts = self.check_completion(input)?;
        let sums = self.check_whole(input, &parts).await?;
        let _alone = self.names.write().await;
        // Another one may have been first, or a part was replaced.
        self.upload(&bucket, &key, &id)?;
        self.check_completion(input)?;
        let old = self.tag(&bucket, &key)?;
        conditions(input.if_match.as_ref(), None, old.as_ref())?;
        if old.is_some()
            && input
                .if_none_match
                .as_ref()
                .is_some_and(ETagCondition::is_any)
        {
            return Err(s3_error!(PreconditionFailed, "The object exists"));
        }

        let tags: Vec<u8> = parts
            .iter()
            .filter_map(|part| part.e_tag.as_ref())
            .flat_map(|tag| unhex(tag.value()))
            .collect();
        let tag = format!("{}-{}", hex(&Md5::checksum(&tags)), parts.len());
        let mut output = CompleteMultipartUploadOutput {
            bucket: Some(bucket.clone()),
            key: Some(key.clone()),
            e_tag: Some(ETag::Strong(tag.clone())),
            ..Default::default()
        };
        // Checksums of the object that was there before do not stay.
        let mut noted = Map::new();
        noted.insert("e_tag".to_owned(), tag.into());
        macro_rules! note {
            ($short:ident, $field:ident, $header:expr, $name:ident) => {
                if let Some(sum) = &sums.$field {
                    noted.insert(stringify!($field).to_owned(), sum.as_str().into());
                }
                output.$field = sums.$field;
            };
        }
        each_sum!(note);

        let target = self.object(&bucket, &key)?;
        let paths: Vec<_> = parts
            .iter()
            .map(|part| self.part_path(&id, part.part_number.unwrap_or(0)))
            .collect();
        tokio::task::spawn_blocking(move || join_files(&paths, &target))
            .await
            .map_err(internal)?
            .map_err(internal)?;
        let path = |name: String| self.root.join(name);
        fs::write(
            path(info_name(&bucket, &key)),
            Value::Object(noted).to_string(),
        )
        .map_err(internal)?;
        let attributes = path(format!(
            ".bucket-{}.object-{}.metadata.json",
            encoded(&bucket),
            encoded(&key)
        ));
        fs::rename(path(upload_name(&bucket, &key, &id)), attributes).map_err(internal)?;
        fs::remove_file(path(format!(".upload-{id}.json"))).map_err(internal)?;
        // Parts that the completion did not name go, too.
        self.forget(&id);
        Ok(S3Response::new(output))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = &req.input;
        self.upload(&input.bucket, &input.key, &input.upload_id)?;
        let id = input.upload_id.clone();
        let _alone = self.names.write().await;
        let answer = self.inner.abort_multipart_upload(req).await?;
        self.forget(&id);
        Ok(answer)
    }
}

impl Store {
    /// Removes what is left of an upload's parts.
    fn forget(&self, id: &str) {
        let prefix = format!(".upload_id-{id}.");
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A body whose checksums are computed as it passes.
struct Summed {
    body: StreamingBlob,
    sums: Sums,
}

#[derive(Clone)]
struct Sums(Arc<Mutex<(Option<Md5>, ChecksumHasher)>>);

impl Summed {
    /// Computes the checksums that were given, and those that are announced.
    fn new(
        body: StreamingBlob,
        given: &Checksum,
        algorithm: Option<&ChecksumAlgorithm>,
        trailer: Option<&str>,
        with_md5: bool,
    ) -> Self {
        let mut hasher = ChecksumHasher::default();
        macro_rules! want {
            ($short:ident, $field:ident, $header:expr, $name:ident) => {
                if given.$field.is_some()
                    || algorithm.is_some_and(|a| a.as_str() == ChecksumAlgorithm::$name)
                    || trailer.is_some_and(|t| t.trim().eq_ignore_ascii_case($header))
                {
                    hasher.$short = Some(Default::default());
                }
            };
        }
        each_sum!(want);
        Self {
            body,
            sums: Sums(Arc::new(Mutex::new((with_md5.then(Md5::new), hasher)))),
        }
    }

    fn sums(&self) -> Sums {
        self.sums.clone()
    }
}

impl Sums {
    /// The MD5 sum and the checksums of what has passed.
    fn finish(&self) -> (Option<[u8; 16]>, Checksum) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (md5, hasher) = std::mem::take(&mut *sums);
        (md5.map(Md5::finalize), hasher.finalize())
    }
}

impl Stream for Summed {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.body).poll_next(cx);
        if let Poll::Ready(Some(Ok(piece))) = &polled {
            let mut sums = self.sums.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(md5) = &mut sums.0 {
                md5.update(piece);
            }
            sums.1.update(piece);
        }
        polled
    }
}

impl ByteStream for Summed {
    fn remaining_length(&self) -> RemainingLength {
        self.body.remaining_length()
    }
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// Adds the checksums that came after the body.
fn from_trailers(given: &mut Checksum, trailers: Option<TrailingHeaders>) {
    let Some(trailers) = trailers.and_then(|trailers| trailers.take()) else {
        return;
    };
    macro_rules! add {
        ($short:ident, $field:ident, $header:expr, $name:ident) => {
            if let Some(sum) = trailers.get($header).and_then(|value| value.to_str().ok()) {
                given.$field = Some(sum.to_owned());
            }
        };
    }
    each_sum!(add);
}

fn compare_sums(given: &Checksum, found: &Checksum) -> S3Result<()> {
    macro_rules! compare {
        ($short:ident, $field:ident, $header:expr, $name:ident) => {
            if given.$field.is_some() && given.$field != found.$field {
                return Err(s3_error!(
                    BadDigest,
                    "The {} you specified did not match the calculated checksum.",
                    ChecksumAlgorithm::$name
                ));
            }
        };
    }
    each_sum!(compare);
    Ok(())
}

fn compare_md5(given: Option<String>, found: Option<[u8; 16]>) -> S3Result<()> {
    let found = found.map(|sum| base64_simd::STANDARD.encode_to_string(sum));
    if given.is_some() && given != found {
        return Err(s3_error!(
            BadDigest,
            "The Content-MD5 you specified did not match what we received."
        ));
    }
    Ok(())
}

fn conditions(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
    tag: Option<&ETag>,
) -> S3Result<()> {
    let holds = |condition: &ETagCondition| {
        tag.is_some_and(|tag| {
            condition.is_any() || condition.as_etag().map(ETag::value) == Some(tag.value())
        })
    };
    if !if_match.is_none_or(holds) {
        return Err(s3_error!(
            PreconditionFailed,
            "At least one of the pre-conditions did not hold"
        ));
    }
    if if_none_match.is_some_and(holds) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

/// Objects have no versions here, but for the one called null.
fn no_versions(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(version) => Err(s3_error!(NoSuchVersion, "There is no version {version}")),
    }
}

/// The error for a body that did not come as announced, with the codes of S3.
fn broken_body(error: StdError) -> s3s::S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let code = "XAmzContentSHA256Mismatch".parse();
        let mut mismatch = s3s::S3Error::new(code.unwrap_or(s3s::S3ErrorCode::BadDigest));
        mismatch.set_status_code(::http::StatusCode::BAD_REQUEST);
        mismatch.set_message(
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        );
        return mismatch;
    }
    if text.contains("SignatureMismatch") {
        return s3_error!(SignatureDoesNotMatch, "A chunk's signature does not match");
    }
    s3_error!(IncompleteBody, "{text}")
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> s3s::S3Error {
    s3_error!(error, InternalError)
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn encoded(text: &str) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(text)
}

fn upload_name(bucket: &str, key: &str, id: &str) -> String {
    let (bucket, key) = (encoded(bucket), encoded(key));
    format!(".bucket-{bucket}.object-{key}.upload-{id}.metadata.json")
}

fn info_name(bucket: &str, key: &str) -> String {
    format!(
        ".bucket-{}.object-{}.internal.json",
        encoded(bucket),
        encoded(key)
    )
}

/// Replaces an object past the protocol.
pub(crate) fn replace(root: &Path, bucket: &str, key: &str, bytes: &[u8]) -> io::Result<()> {
    let path = root.join(bucket).join(key);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    // Under another name first: a request that reads the old object goes on reading that.
    let mut file = tempfile::Builder::new().prefix(".put-").tempfile_in(root)?;
    io::Write::write_all(&mut file, bytes)?;
    file.persist(&path)?;
    let sum = hex(&Md5::checksum(bytes));
    let info = json!({ "e_tag": sum }).to_string();
    fs::write(root.join(info_name(bucket, key)), info)
}

/// Makes one file of several, which are gone afterwards.
fn join_files(parts: &[PathBuf], target: &Path) -> io::Result<()> {
    let Some((first, rest)) = parts.split_first() else {
        return Ok(());
    };
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut whole = fs::OpenOptions::new().write(true).open(first)?;
    io::Seek::seek(&mut whole, io::SeekFrom::End(0))?;
    for part in rest {
        io::copy(&mut fs::File::open(part)?, &mut whole)?;
    }
    fs::rename(first, target)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// Uploads of which anything is left, by id.
pub(crate) fn pending(root: &Path) -> io::Result<Vec<PendingUpload>> {
    let mut found: BTreeMap<String, PendingUpload> = BTreeMap::new();
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some((id, trace)) = trace_of_upload(&name) else {
            continue;
        };
        let upload = found.entry(id.to_owned()).or_insert_with(|| PendingUpload {
            upload_id: id.to_owned(),
            bucket: None,
            key: None,
            parts: Vec::new(),
        });
        match trace {
            Trace::Begun => {}
            Trace::Part(number) => upload.parts.push(number),
            Trace::Object(bucket, key) => {
                upload.bucket = Some(bucket);
                upload.key = Some(key);
            }
        }
    }
    let mut uploads: Vec<_> = found.into_values().collect();
    for upload in &mut uploads {
        upload.parts.sort_unstable();
    }
    Ok(uploads)
}

/// What a file's name tells of an upload.
enum Trace {
    Begun,
    Part(u32),
    Object(String, String),
}

fn trace_of_upload(name: &str) -> Option<(&str, Trace)> {
    if let Some(rest) = name.strip_prefix(".upload_id-") {
        let (id, part) = rest.split_once(".part-")?;
        return Some((id, Trace::Part(part.parse().ok()?)));
    }
    if let Some(rest) = name.strip_prefix(".upload-") {
        return Some((rest.strip_suffix(".json")?, Trace::Begun));
    }
    let (bucket, rest) = name.strip_prefix(".bucket-")?.split_once(".object-")?;
    let (key, rest) = rest.split_once(".upload-")?;
    let id = rest.strip_suffix(".metadata.json")?;
    let decoded = |text: &str| {
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).ok()?;
        String::from_utf8(bytes).ok()
    };
    Some((id, Trace::Object(decoded(bucket)?, decoded(key)?)))
}
