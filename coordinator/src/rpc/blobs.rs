//! The `Blobs` service: receives programs and side files from submitters and sends them to workers.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use windrow_jobs::{Blob, Digest};
use windrow_proto::v1;
use windrow_proto::v1::blobs_server::Blobs;

use super::convert::{blob_from, digest_from};
use super::driver_turns::name_of;
use super::fair_limit::FairLimit;
use super::in_progress::InProgress;
use crate::blobs::{BlobError, BlobStore, Offered, ROOM_STEP, Upload};
use crate::driver::DriverHandle;
use crate::submitter::Submitter;

/// How long an upload may wait for its next piece: others may wait for its slot.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// Concurrent uploads, of all submitters and of one; more wait. Each has a thread, and other work
/// needs threads, too.
const UPLOADS_MAX: usize = 64;
const UPLOADS_OF_ONE_MAX: usize = 8;
/// A slower upload is cancelled, since others wait for its slot. What was received is kept.
const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 16 << 10;
/// The minimum rate is required after this time.
const UPLOAD_GRACE: Duration = Duration::from_secs(60);
/// Concurrent downloads: enough to fill any network. When a program is new, all workers of a
/// cluster want it at the same time.
const DOWNLOADS_MAX: usize = 64;
/// A worker that waits for a download slot gets an empty piece this often, as a sign of life.
const STILL_WAITING: Duration = Duration::from_secs(5);
/// Size of the pieces of a download.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that are queued for the disk or for the network.
const PIECES_MAX: usize = 4;

/// Serves submitters and workers.
pub(crate) struct BlobsService {
    driver: DriverHandle,
    store: Arc<BlobStore>,
    uploads: InProgress<(Digest, Submitter)>,
    upload_turns: FairLimit,
    download_slots: Arc<Semaphore>,
}

impl BlobsService {
    /// Keeps files in `store`; files that the driver's jobs need are kept longest.
    pub(crate) fn new(driver: DriverHandle, store: Arc<BlobStore>) -> Self {
        let upload_turns = FairLimit::new(UPLOADS_MAX, UPLOADS_OF_ONE_MAX);
        let download_slots = Arc::new(Semaphore::new(DOWNLOADS_MAX));
        Self { driver, store, uploads: InProgress::default(), upload_turns, download_slots }
    }

    async fn offered(&self, blob: Blob, from: Submitter) -> Result<Offered, Status> {
        let store = Arc::clone(&self.store);
        Ok(blocking(move || store.offer(blob, from)).await??)
    }

    async fn open(&self, digest: Digest) -> Result<(Arc<File>, u64), Status> {
        open(Arc::clone(&self.store), digest).await
    }

    async fn begin(&self, blob: Blob, from: Submitter) -> Result<Upload, Status> {
        let in_use = self.driver.blobs_in_use().await?;
        let store = Arc::clone(&self.store);
        Ok(blocking(move || store.begin(blob, from, &in_use)).await??)
    }

    async fn make_room(&self, coming: (Blob, u64), from: Submitter) -> Result<(), Status> {
        let in_use = self.driver.blobs_in_use().await?;
        let store = Arc::clone(&self.store);
        Ok(blocking(move || store.make_room(coming, from, &in_use)).await??)
    }

    /// Passes the pieces of an upload on and reserves quota for them.
    async fn take_pieces(
        &self,
        (first, mut pieces): (v1::UploadPiece, Streaming<v1::UploadPiece>),
        (blob, from): (Blob, Submitter),
        mut received: u64,
        stored: mpsc::Sender<v1::UploadPiece>,
    ) -> Result<(), Status> {
        let (mut piece, mut rate) = (first, MinimumRate::new());
        let mut room = received + ROOM_STEP;
        loop {
            rate.count(piece.data.len());
            // Bytes that are here already are sent at most once more, and count twice then.
            received += piece.data.len() as u64;
            if received > room {
                self.make_room((blob, received.min(blob.bytes)), from).await?;
                room = received + ROOM_STEP;
            }
            if stored.send(piece).await.is_err() {
                return Ok(()); // The writer reports the reason.
            }
            match next(&mut pieces).await {
                Ok(Some(_)) if rate.is_too_slow() => return Err(too_slow()),
                Ok(Some(next_one)) => piece = next_one,
                Ok(None) | Err(_) => return Ok(()),
            }
        }
    }
}

#[tonic::async_trait]
impl Blobs for BlobsService {
    type DownloadStream = ReceiverStream<Result<v1::DownloadPiece, Status>>;

    async fn offer(
        &self,
        request: Request<v1::OfferRequest>,
    ) -> Result<Response<v1::OfferReply>, Status> {
        let from = Submitter::named(name_of(&request).as_deref());
        let reply = match self.offered(blob_from(request.into_inner().blob)?, from).await? {
            Offered::Present => v1::OfferReply { present: true, received_bytes: 0 },
            Offered::Received(bytes) => v1::OfferReply { present: false, received_bytes: bytes },
        };
        Ok(Response::new(reply))
    }

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadPiece>>,
    ) -> Result<Response<v1::UploadReply>, Status> {
        let name = name_of(&request);
        let from = Submitter::named(name.as_deref());
        // Taken before anything is read, so that nothing is held here for uploads that wait.
        let turn = self.upload_turns.take(name.as_deref()).await?;
        let mut pieces = request.into_inner();
        let Some(first) = next(&mut pieces).await? else {
            return Err(Status::invalid_argument(
                "an upload begins with the digest and size of its file",
            ));
        };
        let blob = blob_from(first.blob.clone())?;
        let only_upload = self.uploads.begin((blob.digest, from)).await;
        if self.offered(blob, from).await? == Offered::Present {
            return Ok(Response::new(v1::UploadReply {}));
        }
        let upload = self.begin(blob, from).await?;
        let there = upload.received();
        let (sender, received) = mpsc::channel(PIECES_MAX);
        let storing = spawn_blocking(move || {
            // Held also when the caller disconnects: until the writer has ended, no other upload of
            // the blob may begin.
            let _until_here = (only_upload, turn);
            store(upload, received)
        });
        let taken = self.take_pieces((first, pieces), (blob, from), there, sender).await;
        let stored = storing.await.map_err(|error| Status::internal(error.to_string()))?;
        taken?;
        stored?;
        tracing::info!(digest = %blob.digest, bytes = blob.bytes, "received a program or side file");
        Ok(Response::new(v1::UploadReply {}))
    }

    async fn download(
        &self,
        request: Request<v1::DownloadRequest>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        let v1::DownloadRequest { digest, offset } = request.into_inner();
        let digest = digest_from(&digest)?;
        // The file is closed while the download waits: all workers may wait.
        drop(self.open(digest).await?);
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let (slots, store) = (Arc::clone(&self.download_slots), Arc::clone(&self.store));
        tokio::spawn(async move {
            let Some(_slot) = wait_for_slot(slots, &sender).await else { return };
            match open(store, digest).await {
                Ok((file, end)) => send(file, offset.min(end), sender).await,
                // The file may have been evicted meanwhile. Sending fails only if the receiver has
                // disconnected.
                Err(status) => drop(sender.send(Err(status)).await),
            }
        });
        Ok(Response::new(ReceiverStream::new(pieces)))
    }
}

/// Opens a file. Its length bounds every read, however far the request reaches.
async fn open(store: Arc<BlobStore>, digest: Digest) -> Result<(Arc<File>, u64), Status> {
    let file = blocking(move || store.open(digest)).await??;
    let end = file.metadata().map_err(|error| Status::internal(error.to_string()))?.len();
    Ok((file, end))
}

/// Tells whether an upload is too slow.
struct MinimumRate {
    began: Instant,
    bytes: u64,
}

impl MinimumRate {
    fn new() -> Self {
        Self { began: Instant::now(), bytes: 0 }
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    fn is_too_slow(&self) -> bool {
        let counted = self.began.elapsed().saturating_sub(UPLOAD_GRACE).as_secs();
        self.bytes < counted.saturating_mul(UPLOAD_BYTES_PER_SECOND_MIN)
    }
}

fn too_slow() -> Status {
    let rate = UPLOAD_BYTES_PER_SECOND_MIN >> 10;
    Status::resource_exhausted(format!(
        "the upload is slower than {rate} KiB/s, and others wait for its slot; submit again to resume it"
    ))
}

/// Waits for a download slot; `None` if the receiver disconnects meanwhile.
async fn wait_for_slot(
    slots: Arc<Semaphore>,
    pieces: &mpsc::Sender<Result<v1::DownloadPiece, Status>>,
) -> Option<OwnedSemaphorePermit> {
    let slot = slots.acquire_owned();
    tokio::pin!(slot);
    loop {
        match timeout(STILL_WAITING, &mut slot).await {
            Ok(slot) => return slot.ok(),
            Err(_) => pieces.send(Ok(v1::DownloadPiece::default())).await.ok()?,
        }
    }
}

/// Sends a file from `offset` to its end, or until the receiver disconnects. Holds no thread while
/// it waits for the network: there may be many downloads.
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
        // A receiver that takes nothing loses its slot to those that wait.
        let sent = timeout(PIECE_TIMEOUT, pieces.send(piece)).await;
        if !matches!(sent, Ok(Ok(()))) || is_last {
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

/// Writes all pieces, and checks the whole at the end.
fn store(mut upload: Upload, mut pieces: mpsc::Receiver<v1::UploadPiece>) -> Result<(), BlobError> {
    while let Some(v1::UploadPiece { offset, data, .. }) = pieces.blocking_recv() {
        upload.write(offset, &data)?;
    }
    upload.finish()
}

async fn next(pieces: &mut Streaming<v1::UploadPiece>) -> Result<Option<v1::UploadPiece>, Status> {
    timeout(PIECE_TIMEOUT, pieces.message()).await.unwrap_or_else(|_| {
        Err(Status::deadline_exceeded("the next piece of the upload did not arrive in time"))
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_upload_below_the_minimum_rate_is_cancelled_after_its_grace() {
        let mut rate = MinimumRate::new();
        tokio::time::advance(UPLOAD_GRACE).await;
        assert!(!rate.is_too_slow(), "an upload may begin slowly");
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            rate.count(UPLOAD_BYTES_PER_SECOND_MIN as usize);
            assert!(!rate.is_too_slow());
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        rate.count(1);
        assert!(rate.is_too_slow());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_download_gets_empty_pieces() {
        let slots = Arc::new(Semaphore::new(1));
        let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
        let taken = wait_for_slot(Arc::clone(&slots), &sender).await;
        assert!(pieces.try_recv().is_err(), "it did not wait");
        let waiting = tokio::spawn(async move { wait_for_slot(slots, &sender).await.is_some() });
        for _ in 0..3 {
            assert_eq!(pieces.recv().await.unwrap().unwrap(), v1::DownloadPiece::default());
        }
        drop(taken);
        assert!(waiting.await.unwrap());
    }
}
