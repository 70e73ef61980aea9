//! Downloads a blob from the coordinator, and verifies its digest. After a broken connection, the
//! downloaded bytes stay in their file, and the next try resumes there, even if a later worker in
//! the same folder makes it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};
use windrow_jobs::{Blob, Digest, FailureCause};
use windrow_proto::v1;
use windrow_proto::v1::blobs_client::BlobsClient;
use windrow_security::files::private;

use crate::connector::Connector;
use crate::sync::blocking;

/// Tries before the attempt fails.
const TRIES: u32 = 6;
/// Pause between the first two tries. It doubles each time: a coordinator may be restarting.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest wait for a piece.
const PIECE_TIMEOUT: Duration = Duration::from_secs(20);
/// Pieces that may wait for the disk.
const PIECES_MAX: usize = 4;

/// The source of blobs.
pub(crate) enum Source {
    /// The cluster's coordinator.
    Coordinator(Connector),
    /// A folder of files named by their digest.
    #[cfg(test)]
    Folder {
        path: std::path::PathBuf,
        fetches: std::sync::atomic::AtomicU32,
        /// The offset at which each fetch has begun.
        offsets: std::sync::Mutex<Vec<u64>>,
    },
}

/// Completes `part`, whose content then has the blob's digest. After an error, `part` holds a
/// prefix of the blob, as far as is known.
pub(super) async fn download(source: &Source, blob: Blob, part: &Path) -> Result<(), FailureCause> {
    let mut tried = 1;
    let mut pause = PAUSE_MIN;
    loop {
        let status = match attempt(source, blob, part).await {
            Ok(()) => return Ok(()),
            Err(Failed::Here(cause)) => return Err(cause),
            Err(Failed::There(status)) => status,
        };
        let text = windrow_jobs::one_line(status.message());
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
    /// A local failure, which another try would not mend.
    Here(FailureCause),
    There(Status),
}

async fn attempt(source: &Source, blob: Blob, part: &Path) -> Result<(), Failed> {
    let failed = |error: io::Error| {
        // A partial file would only take up room on a full disk.
        let _ = fs::remove_file(part);
        Failed::Here(FailureCause::io(part, &error))
    };
    let path = part.to_path_buf();
    let begun = blocking(move || Partial::open(&path, blob)).await.map_err(failed)?;
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let offset = begun.bytes;
    let writing = tokio::spawn(blocking(move || begun.write(pieces)));
    let fetched = fetch(source, blob.digest, offset, &sender).await;
    drop(sender);
    let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    let digest = written.map_err(failed)?;
    fetched.map_err(Failed::There)?;
    if digest == blob.digest {
        return Ok(());
    }
    // Any byte may be wrong, so the download starts over.
    fs::remove_file(part).map_err(failed)?;
    Err(Failed::There(Status::data_loss("its content does not have its digest")))
}

/// The downloaded prefix of a blob.
struct Partial {
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
    bytes_max: u64,
}

impl Partial {
    /// Resumes after the bytes in the file; starts over if the file is too long.
    fn open(path: &Path, blob: Blob) -> io::Result<Self> {
        let mut file = private().read(true).write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() > blob.bytes {
            file.set_len(0)?;
        }
        let mut hasher = blake3::Hasher::new();
        let bytes = file.metadata()?.len();
        hasher.update_reader((&mut file).take(bytes))?;
        Ok(Self { file, bytes: hasher.count(), hasher, bytes_max: blob.bytes })
    }

    /// Appends the pieces, up to the blob's length, and returns the digest of the whole file.
    fn write(mut self, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<Digest> {
        while let Some(piece) = pieces.blocking_recv() {
            self.bytes += piece.len() as u64;
            if self.bytes > self.bytes_max {
                break; // The digest will not match.
            }
            self.hasher.update(&piece);
            // Not synced: after a crash of the machine, it is verified before use.
            self.file.write_all(&piece)?;
        }
        Ok(Digest(*self.hasher.finalize().as_bytes()))
    }
}

async fn fetch(
    source: &Source,
    digest: Digest,
    offset: u64,
    pieces: &mpsc::Sender<Bytes>,
) -> Result<(), Status> {
    match source {
        Source::Coordinator(connector) => fetch_from(connector, digest, offset, pieces).await,
        #[cfg(test)]
        Source::Folder { path, fetches, offsets } => {
            fetches.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            crate::sync::lock(offsets).push(offset);
            let bytes = fs::read(path.join(digest.to_string()));
            let mut bytes =
                Bytes::from(bytes.map_err(|e| Status::failed_precondition(e.to_string()))?);
            let _ = pieces.send(bytes.split_off(offset.min(bytes.len() as u64) as usize)).await;
            // Simulates a connection that breaks.
            if path.join("breaks").exists() { Err(Status::unavailable("it broke")) } else { Ok(()) }
        }
    }
}

async fn fetch_from(
    coordinator: &Connector,
    digest: Digest,
    offset: u64,
    pieces: &mpsc::Sender<Bytes>,
) -> Result<(), Status> {
    let unreachable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    let channel = coordinator.connect().await.map_err(unreachable)?;
    let request = v1::DownloadRequest { digest: digest.0.to_vec().into(), offset };
    let mut stream = BlobsClient::new(channel).download(request).await?.into_inner();
    let late = |_| Status::deadline_exceeded("the next piece does not arrive");
    while let Some(piece) = timeout(PIECE_TIMEOUT, stream.message()).await.map_err(late)?? {
        if pieces.send(piece.data).await.is_err() {
            break; // The writer has failed, and reports why.
        }
    }
    Ok(())
}
