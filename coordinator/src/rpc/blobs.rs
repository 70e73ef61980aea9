//! The `Blobs` service: takes programs and side files from submitters, gives them to workers.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use windrow_jobs::{Blob, Digest};
use windrow_proto::v1;
use windrow_proto::v1::blobs_server::Blobs;

use super::convert::{blob_from, digest_from};
use super::in_progress::InProgress;
use crate::blobs::{BlobError, BlobStore, Offered, Upload};
use crate::driver::DriverHandle;

/// How long a submitter may leave an upload waiting: others may wait for it.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// Uploads at once; others wait. Each has a thread, and others need some, too.
const UPLOADS_MAX: usize = 16;
/// Of a download.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait for the disk, or for the network.
const PIECES_MAX: usize = 4;

/// Answers submitters and workers.
pub(crate) struct BlobsService {
    driver: DriverHandle,
    store: Arc<BlobStore>,
    uploads: InProgress<Digest>,
    upload_slots: Arc<Semaphore>,
}

impl BlobsService {
    /// Keeps them in `store`; what the driver's jobs need is kept longest.
    pub(crate) fn new(driver: DriverHandle, store: Arc<BlobStore>) -> Self {
        let upload_slots = Arc::new(Semaphore::new(UPLOADS_MAX));
        Self { driver, store, uploads: InProgress::default(), upload_slots }
    }

    async fn offered(&self, blob: Blob) -> Result<Offered, Status> {
        let store = Arc::clone(&self.store);
        Ok(blocking(move || store.offer(blob)).await??)
    }

    async fn begin(&self, blob: Blob) -> Result<Upload, Status> {
        let in_use = self.driver.blobs_in_use().await?;
        let store = Arc::clone(&self.store);
        Ok(blocking(move || store.begin(blob, &in_use)).await??)
    }
}

#[tonic::async_trait]
impl Blobs for BlobsService {
    type DownloadStream = ReceiverStream<Result<v1::DownloadPiece, Status>>;

    async fn offer(
        &self,
        request: Request<v1::OfferRequest>,
    ) -> Result<Response<v1::OfferReply>, Status> {
        let reply = match self.offered(blob_from(request.into_inner().blob)?).await? {
            Offered::Present => v1::OfferReply { present: true, received_bytes: 0 },
            Offered::Received(bytes) => v1::OfferReply { present: false, received_bytes: bytes },
        };
        Ok(Response::new(reply))
    }

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadPiece>>,
    ) -> Result<Response<v1::UploadReply>, Status> {
        let mut pieces = request.into_inner();
        let Some(first) = next(&mut pieces).await? else {
            return Err(Status::invalid_argument("an upload begins with what it is of"));
        };
        let blob = blob_from(first.blob.clone())?;
        let only_upload = self.uploads.begin(blob.digest).await;
        let slot = Arc::clone(&self.upload_slots).acquire_owned().await;
        if self.offered(blob).await? == Offered::Present {
            return Ok(Response::new(v1::UploadReply {}));
        }
        let upload = self.begin(blob).await?;
        let (sender, received) = mpsc::channel(PIECES_MAX);
        let storing = spawn_blocking(move || {
            // Also when the caller goes: until then, nobody else writes.
            let _until_here = (only_upload, slot);
            store(upload, received)
        });
        let mut piece = Ok(Some(first));
        while let Ok(Some(next_one)) = piece {
            if sender.send(next_one).await.is_err() {
                break; // Why, `storing` says.
            }
            piece = next(&mut pieces).await;
        }
        drop(sender);
        storing.await.map_err(|error| Status::internal(error.to_string()))??;
        tracing::info!(digest = %blob.digest, bytes = blob.bytes, "received a program or side file");
        Ok(Response::new(v1::UploadReply {}))
    }

    async fn download(
        &self,
        request: Request<v1::DownloadRequest>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        let v1::DownloadRequest { digest, offset } = request.into_inner();
        let digest = digest_from(&digest)?;
        let store = Arc::clone(&self.store);
        let file = blocking(move || store.open(digest)).await??;
        // Beyond the end there is nothing, however far.
        let end = file.metadata().map_err(|error| Status::internal(error.to_string()))?.len();
        let offset = offset.min(end);
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        tokio::spawn(send(file, offset, sender));
        Ok(Response::new(ReceiverStream::new(pieces)))
    }
}

/// Sends a file from `offset` to its end, or until nobody wants any more. Holds no thread while it waits for the network: downloads may be
/// many.
async fn send(
    file: Arc<File>,
    mut offset: u64,
    pieces: mpsc::Sender<Result<v1::DownloadPiece, Status>>,
) {
    loop {
        let file = Arc::clone(&file);
        let read = blocking(move || read_piece(&file, offset)).await;
        let piece = match read.map(|read| read.map_err(|e| Status::internal(e.to_string()))) {
            Ok(Ok(data)) if data.is_empty() => return,
            Ok(Ok(data)) => {
                offset += data.len() as u64;
                Ok(v1::DownloadPiece { data: data.into() })
            }
            Ok(Err(status)) | Err(status) => Err(status),
        };
        let is_last = piece.is_err();
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

fn read_piece(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let mut data = vec![0; PIECE_BYTES];
    let read = file.read_at(&mut data, offset)?;
    data.truncate(read);
    Ok(data)
}

/// Writes all pieces, and checks what they make when there are no more.
fn store(mut upload: Upload, mut pieces: mpsc::Receiver<v1::UploadPiece>) -> Result<(), BlobError> {
    while let Some(v1::UploadPiece { offset, data, .. }) = pieces.blocking_recv() {
        upload.write(offset, &data)?;
    }
    upload.finish()
}

async fn next(pieces: &mut Streaming<v1::UploadPiece>) -> Result<Option<v1::UploadPiece>, Status> {
    timeout(PIECE_TIMEOUT, pieces.message())
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("the upload waits for its next piece")))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))
}
