//! What the tests of the transfers have in common.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use gstneural_s3::{
    Connection, Credentials, Finished, ObjectReader, ObjectWriter, ReadOptions, S3Error, S3Uri,
    Secret, WriteOptions, runtime,
};

pub const MIB: usize = 1 << 20;

/// A connection to a test server: path style, impatient.
pub fn connection(endpoint: &str, access_key: &str, secret_key: &str) -> Connection {
    Connection {
        credentials: Credentials::Keys {
            access_key: access_key.to_owned(),
            secret_key: Secret::new(secret_key),
            session_token: None,
        },
        endpoint: Some(endpoint.to_owned()),
        path_style: true,
        region: Some("us-east-1".to_owned()),
        request_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_secs(5),
        ..Connection::default()
    }
}

pub fn uri(key: &str) -> S3Uri {
    S3Uri::from_parts("films", key).unwrap()
}

/// Bytes without a pattern, the same for the same seed.
pub fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    runtime::handle().unwrap().block_on(future)
}

/// Writes in pieces of 100,000 bytes; gives up properly when that fails.
pub fn write(
    connection: &Connection,
    uri: &S3Uri,
    options: WriteOptions,
    data: &[u8],
) -> Result<Finished, S3Error> {
    block_on(async {
        let mut writer = ObjectWriter::open(connection, uri, options).await?;
        let written = async {
            for piece in data.chunks(100_000) {
                writer.write(piece, &mut 0).await?;
            }
            writer.finish().await
        };
        match written.await {
            Ok(finished) => Ok(finished),
            Err(error) => {
                writer.give_up(Duration::from_secs(30)).await?;
                Err(error)
            }
        }
    })
}

/// Reads the whole from first to last byte, in pieces of 100,000 bytes.
pub fn read(
    connection: &Connection,
    uri: &S3Uri,
    options: &ReadOptions,
) -> Result<Vec<u8>, S3Error> {
    block_on(async {
        let reader = ObjectReader::open(connection, uri, options).await?;
        let mut all = Vec::new();
        let mut piece = vec![0; 100_000];
        loop {
            let count = reader.read_at(all.len() as u64, &mut piece).await?;
            if count == 0 {
                return Ok(all);
            }
            all.extend_from_slice(&piece[..count]);
        }
    })
}
