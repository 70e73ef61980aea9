//! Executables and side files over the wire.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use windrow_proto::v1;

use crate::support::{BLOB_BYTES_MAX, Cluster, submission_of};

fn blob(bytes: &[u8]) -> v1::Blob {
    let digest = blake3::hash(bytes).as_bytes().to_vec().into();
    v1::Blob { digest, bytes: bytes.len() as u64 }
}

fn program(n: u8) -> Vec<u8> {
    vec![n; 600_000]
}

async fn offer(cluster: &Cluster, blob: &v1::Blob) -> Result<v1::OfferReply, Status> {
    let request = v1::OfferRequest { blob: Some(blob.clone()) };
    Ok(cluster.blobs.clone().offer(request).await?.into_inner())
}

/// Uploads `bytes`, of which only those in `range` are sent.
async fn upload(
    cluster: &Cluster,
    blob: &v1::Blob,
    bytes: &[u8],
    range: std::ops::Range<usize>,
) -> Result<(), Status> {
    let mut pieces = Vec::new();
    let mut offset = range.start;
    for data in bytes[range].chunks(256 << 10) {
        let blob = pieces.is_empty().then(|| blob.clone());
        pieces.push(v1::UploadPiece { blob, offset: offset as u64, data: data.to_vec().into() });
        offset += data.len();
    }
    cluster.blobs.clone().upload(tokio_stream::iter(pieces)).await.map(|_| ())
}

async fn download(cluster: &Cluster, digest: &[u8]) -> Result<Vec<u8>, Status> {
    download_from(cluster, digest, 0).await
}

async fn download_from(cluster: &Cluster, digest: &[u8], offset: u64) -> Result<Vec<u8>, Status> {
    let request = v1::DownloadRequest { digest: digest.to_vec().into(), offset };
    let mut pieces = cluster.blobs.clone().download(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await? {
        bytes.extend_from_slice(&piece.data);
    }
    Ok(bytes)
}

#[tokio::test]
async fn an_upload_resumes_after_the_coordinator_was_killed() {
    let cluster = Cluster::start_with_journal().await;
    let (bytes, blob) = (program(1), blob(&program(1)));
    assert!(!offer(&cluster, &blob).await.unwrap().present);
    let broken = upload(&cluster, &blob, &bytes, 0..300_000).await.unwrap_err();
    assert_eq!(broken.code(), Code::FailedPrecondition, "{broken}");
    let (cluster, _former) = cluster.take_over().await;
    let offered = offer(&cluster, &blob).await.unwrap();
    assert_eq!((offered.present, offered.received_bytes), (false, 300_000));
    upload(&cluster, &blob, &bytes, 300_000..bytes.len()).await.unwrap();
    assert!(offer(&cluster, &blob).await.unwrap().present);
    assert_eq!(download(&cluster, &blob.digest).await.unwrap(), bytes);
    for offset in [1, 300_000, 600_000, u64::MAX] {
        let rest = &bytes[bytes.len().min(offset as usize)..];
        assert_eq!(download_from(&cluster, &blob.digest, offset).await.unwrap(), rest);
    }
}

#[tokio::test]
async fn bytes_that_do_not_fit_their_digest_are_refused() {
    let cluster = Cluster::start().await;
    let large = v1::Blob { bytes: BLOB_BYTES_MAX + 1, ..blob(b"") };
    let refused = offer(&cluster, &large).await.unwrap_err();
    assert!(refused.message().contains("--program-bytes-max"), "{refused}");
    let wrong = blob(&program(2));
    let refused = upload(&cluster, &wrong, &program(3), 0..600_000).await.unwrap_err();
    assert_eq!(refused.code(), Code::DataLoss, "{refused}");
    assert_eq!(offer(&cluster, &wrong).await.unwrap().received_bytes, 0);
    let missing = download(&cluster, &wrong.digest).await.unwrap_err();
    assert_eq!(missing.code(), Code::FailedPrecondition, "{missing}");
}

#[tokio::test]
async fn of_two_concurrent_uploads_the_later_finds_the_blob() {
    let cluster = Cluster::start().await;
    let (bytes, blob) = (program(4), blob(&program(4)));
    let (sender, pieces) = mpsc::channel(4);
    let first =
        v1::UploadPiece { blob: Some(blob.clone()), offset: 0, data: bytes[..9].to_vec().into() };
    sender.send(first).await.unwrap();
    let mut blobs = cluster.blobs.clone();
    let slow = tokio::spawn(async move { blobs.upload(ReceiverStream::new(pieces)).await });
    while offer(&cluster, &blob).await.unwrap().received_bytes == 0 {
        tokio::task::yield_now().await;
    }
    let finish = async {
        let rest = bytes[9..].chunks(256 << 10).scan(9, |offset, data| {
            let at = std::mem::replace(offset, *offset + data.len());
            Some(v1::UploadPiece { blob: None, offset: at as u64, data: data.to_vec().into() })
        });
        for piece in rest {
            sender.send(piece).await.unwrap();
        }
        drop(sender);
    };
    let (other, ()) = tokio::join!(upload(&cluster, &blob, &bytes, 0..bytes.len()), finish);
    other.unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!(download(&cluster, &blob.digest).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_job_is_accepted_once_its_files_are_uploaded() {
    let cluster = Cluster::start().await;
    let words = b"a side file".to_vec();
    let mut spec = cluster.word_count(1);
    spec.files = vec![v1::SideFile { name: "words".into(), blob: Some(blob(&words)) }];
    let refused = cluster.submit(spec.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("is missing"), "{refused}");
    upload(&cluster, &blob(&words), &words, 0..words.len()).await.unwrap();
    cluster.submit(spec).await.unwrap();
    let mut worker = cluster.worker("/w").await;
    let map = worker.next_map().await;
    let context = &worker.contexts[&map.attempt.unwrap().job];
    assert_eq!(context.files[0].name, "words");
    assert!(context.program.is_some());
}

#[tokio::test]
async fn a_program_that_no_worker_can_run_is_refused() {
    let cluster = Cluster::start().await;
    let mut request = submission_of(cluster.word_count(1));
    let program = request.spec.as_mut().unwrap().program.as_mut().unwrap();
    program.needs = Some(v1::PlatformNeeds { glibc: "2.99".into(), ..Default::default() });
    let platform = v1::Platform { glibc: "2.17".into(), ..Default::default() };
    let hello = v1::Hello { platform: Some(platform), ..crate::support::hello("/w") };
    let _worker = cluster.open(hello).await.unwrap();
    let refused = cluster.jobs.clone().submit(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for part in ["2.99", "2.17", "worker in /w"] {
        assert!(refused.message().contains(part), "{refused}");
    }
}
