//! Sends a job's program and side files to the coordinator, as far as it lacks them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use windrow_jobs::Blob;
use windrow_proto::v1;

use crate::client::{Client, ClientError};

/// Size of a message.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that are read ahead.
const PIECES_MAX: usize = 4;

/// Uploads a file unless the coordinator has it, and returns the number of bytes that had to be
/// sent. An upload that broke off earlier resumes.
///
/// # Errors
/// When the coordinator is not reachable, or takes no such file.
pub(crate) async fn ship(
    client: &Client,
    blob: Blob,
    file: &Arc<File>,
) -> Result<u64, ClientError> {
    let message = v1::Blob { digest: blob.digest.0.to_vec().into(), bytes: blob.bytes };
    let mut is_first = true;
    loop {
        let offered = client.offer(v1::OfferRequest { blob: Some(message.clone()) }).await?;
        if offered.present {
            return Ok(0);
        }
        let start = offered.received_bytes;
        match upload(client, message.clone(), file, start).await {
            // What was there before may have been another's, and wrong. It is gone now.
            Err(ClientError::Refused { usage: false, .. }) if start > 0 && is_first => {
                is_first = false;
            }
            uploaded => return uploaded.map(|()| blob.bytes.saturating_sub(start)),
        }
    }
}

async fn upload(
    client: &Client,
    blob: v1::Blob,
    file: &Arc<File>,
    start: u64,
) -> Result<(), ClientError> {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let file = Arc::clone(file);
    let reading = tokio::task::spawn_blocking(move || read(&file, blob, start, &sender));
    let uploaded = client.upload(ReceiverStream::new(pieces)).await;
    match reading.await {
        Ok(Err(error)) => Err(ClientError::Refused {
            usage: true,
            message: format!("a file of the job cannot be read: {error}"),
        }),
        _ => uploaded.map(|_| ()),
    }
}

/// Reads from `start` on until the end, or until nobody wants any more. The first piece says what
/// it is of.
fn read(
    file: &File,
    blob: v1::Blob,
    start: u64,
    pieces: &mpsc::Sender<v1::UploadPiece>,
) -> std::io::Result<()> {
    let mut offset = start;
    let mut blob = Some(blob);
    loop {
        let mut data = vec![0; PIECE_BYTES];
        let read = file.read_at(&mut data, offset)?;
        data.truncate(read);
        let is_first = blob.is_some();
        let piece = v1::UploadPiece { blob: blob.take(), offset, data: data.into() };
        if (read == 0 && !is_first) || pieces.blocking_send(piece).is_err() {
            return Ok(());
        }
        offset += read as u64;
    }
}
