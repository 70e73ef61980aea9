//! Fetches a blob from the coordinator, and checks that it is the right one.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};
use windrow_jobs::{Blob, Digest, FailureCause};
use windrow_proto::v1;
use windrow_proto::v1::blobs_client::BlobsClient;

use crate::rpc::Connector;

/// Tries before it is the attempt's failure.
const TRIES: u32 = 6;
/// Between the first two. It doubles each time: a coordinator may be restarting.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest wait for a piece.
const PIECE_TIMEOUT: Duration = Duration::from_secs(20);
/// Pieces that wait for the disk.
const PIECES_MAX: usize = 4;

/// Where blobs come from.
pub(crate) enum Source {
    /// The cluster's coordinator.
    Coordinator(Connector),
    /// A folder of files by the name of their digest.
    #[cfg(test)]
    Folder { path: std::path::PathBuf, fetches: std::sync::atomic::AtomicU32 },
}

/// Writes the blob to `part`, after which it is what its digest says.
pub(super) async fn download(source: &Source, blob: Blob, part: &Path) -> Result<(), FailureCause> {
    let mut tried = 1;
    let mut pause = PAUSE_MIN;
    loop {
        let status = match attempt(source, blob, part).await {
            Ok(()) => return Ok(()),
            Err(Failed::Here(cause)) => return Err(cause),
            Err(Failed::There(status)) => status,
        };
        let text = status.message().escape_debug();
        if tried == TRIES || status.code() == Code::FailedPrecondition {
            return Err(FailureCause::Io {
                path: part.display().to_string(),
                message: format!("cannot fetch the program or side file: {text}"),
                disk_full: false,
            });
        }
        tracing::warn!(digest = %blob.digest, "cannot fetch a program: {text}; trying again");
        tried += 1;
        sleep(pause).await;
        pause *= 2;
    }
}

enum Failed {
    /// Another try will not help.
    Here(FailureCause),
    There(Status),
}

async fn attempt(source: &Source, blob: Blob, part: &Path) -> Result<(), Failed> {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let path = part.to_path_buf();
    let writing = spawn_blocking(move || write(&path, blob, pieces));
    let fetched = fetch(source, blob.digest, &sender).await;
    drop(sender);
    let written = writing.await.map_err(|e| Failed::There(Status::internal(e.to_string())))?;
    let digest = written.map_err(|error| Failed::Here(FailureCause::io(part, &error)))?;
    fetched.map_err(Failed::There)?;
    if digest == blob.digest {
        Ok(())
    } else {
        Err(Failed::There(Status::data_loss("what came is not what its digest says")))
    }
}

/// Writes what comes, up to what should come, and returns its digest.
fn write(path: &Path, blob: Blob, mut pieces: mpsc::Receiver<Bytes>) -> std::io::Result<Digest> {
    let mut file = File::create(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut written = 0;
    while let Some(piece) = pieces.blocking_recv() {
        written += piece.len() as u64;
        if written > blob.bytes {
            break; // Its digest will not do.
        }
        hasher.update(&piece);
        // Not synced: after a crash of the machine, it is checked before it is used.
        file.write_all(&piece)?;
    }
    Ok(Digest(*hasher.finalize().as_bytes()))
}

async fn fetch(
    source: &Source,
    digest: Digest,
    pieces: &mpsc::Sender<Bytes>,
) -> Result<(), Status> {
    match source {
        Source::Coordinator(connector) => fetch_from(connector, digest, pieces).await,
        #[cfg(test)]
        Source::Folder { path, fetches } => {
            fetches.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let bytes = std::fs::read(path.join(digest.to_string()));
            let bytes = bytes.map_err(|error| Status::failed_precondition(error.to_string()))?;
            let _ = pieces.send(bytes.into()).await;
            Ok(())
        }
    }
}

async fn fetch_from(
    coordinator: &Connector,
    digest: Digest,
    pieces: &mpsc::Sender<Bytes>,
) -> Result<(), Status> {
    let unreachable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    let channel = coordinator.connect().await.map_err(unreachable)?;
    let request = v1::DownloadRequest { digest: digest.0.to_vec().into() };
    let mut stream = BlobsClient::new(channel).download(request).await?.into_inner();
    let late = |_| Status::deadline_exceeded("the next piece does not come");
    while let Some(piece) = timeout(PIECE_TIMEOUT, stream.message()).await.map_err(late)?? {
        if pieces.send(piece.data).await.is_err() {
            break; // Whoever does not write them any more says why.
        }
    }
    Ok(())
}
