//! Deleting an object.

use crate::{
    client::Client,
    error::{ErrorKind, S3Error},
    options::Connection,
    uri::S3Uri,
};

/// Deletes an object, or the version of it that `uri` names; one that does not exist is fine.
///
/// Tried again where that may help, as [`Connection::attempts`] says. Has to be called on the
/// [runtime](crate::runtime).
///
/// # Errors
/// A connection that cannot be right; those of the server.
pub async fn delete_object(connection: &Connection, uri: &S3Uri) -> Result<(), S3Error> {
    const OPERATION: &str = "DeleteObject";
    let client = &Client::connect(connection, uri).await?;
    let deleted = client
        .call(OPERATION, uri, |_| {
            let request = client.sdk.delete_object();
            let request = request
                .bucket(&uri.bucket)
                .key(&uri.key)
                .set_version_id(uri.version_id.clone())
                .set_request_payer(client.payer());
            async {
                let answer = request.send().await;
                answer.map_err(|e| S3Error::from_sdk(OPERATION, uri, e))
            }
        })
        .await;
    match deleted {
        Err(error) if error.kind != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
