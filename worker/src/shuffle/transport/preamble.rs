//! The line that opens a connection between workers. It names the job by its identity, so that
//! the connection can be handed to the job's process before a byte of gRPC has been read. A job's
//! number would not do: another coordinator may give it again.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use windrow_jobs::{JobIdentity, JobName};

/// The protocol and its version.
const GREETING: &str = "windrow-shuffle/2 job ";

/// Longer than any valid line.
const LINE_BYTES_MAX: usize = 64;

/// Writes the line for a job.
pub(crate) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    job: JobIdentity,
) -> io::Result<()> {
    stream.write_all(format!("{GREETING}{job}\n").as_bytes()).await
}

/// Reads the line, and not a byte after it.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<JobIdentity> {
    let mut line = Vec::with_capacity(LINE_BYTES_MAX);
    while line.len() < LINE_BYTES_MAX {
        match stream.read_u8().await? {
            b'\n' => return job_from(&line).ok_or_else(|| invalid("it names no job")),
            byte => line.push(byte),
        }
    }
    Err(invalid("its first line is too long"))
}

fn job_from(line: &[u8]) -> Option<JobIdentity> {
    match std::str::from_utf8(line).ok()?.strip_prefix(GREETING)?.parse() {
        Ok(JobName::Identity(job)) => Some(job),
        _ => None,
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_job_is_read_and_nothing_after_it() {
        for job in [0, 17, u128::MAX].map(JobIdentity) {
            let mut bytes = Vec::new();
            write(&mut bytes, job).await.unwrap();
            assert!(bytes.len() <= LINE_BYTES_MAX);
            bytes.extend_from_slice(b"PRI * HTTP/2.0");
            let mut stream = &bytes[..];
            assert_eq!(read(&mut stream).await.unwrap(), job);
            assert_eq!(stream, b"PRI * HTTP/2.0");
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let endless = [b'1'; 1 << 10];
        for line in [
            &b"PRI * HTTP/2.0\r\n\r\n"[..],
            b"windrow-shuffle/2 job \n",
            b"windrow-shuffle/2 job 1\n",
            b"windrow-shuffle/2 job 0123456789abcdef0123456789abcde\n",
            b"windrow-shuffle/2 job +123456789abcdef0123456789abcdef\n",
            b"windrow-shuffle/1 job 0123456789abcdef0123456789abcdef\n",
            b"windrow-shuffle/2 job 0123456789abcdef0123456789abcdef",
            &endless,
            b"",
        ] {
            assert!(read(&mut &line[..]).await.is_err(), "{}", line.escape_ascii());
        }
    }
}
