//! The job: any number of maps, of a few bytes each.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use windrow_proto::v1;
use windrow_proto::v1::jobs_client::JobsClient;

use crate::Result;
use crate::counted::connect;
use crate::sessions::build;

/// Bytes of a line, which is also a split.
const LINE_BYTES: u64 = 16;

/// The times of a job.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// From submission to number: planning and journaling.
    pub accepting: Duration,
    /// From then to the end.
    pub running: Duration,
}

/// Submits the job, and waits for its end.
pub async fn run(address: &str, input: &Path, output: &Path, reduces: u32) -> Result<Took> {
    let channel = connect(address, &Arc::default()).await?;
    let mut jobs = JobsClient::new(channel);
    let request = v1::SubmitRequest {
        build: Some(build()),
        spec: Some(spec(input, output, reduces)?),
        shape: Some(v1::JobShape::default()),
        ..Default::default()
    };
    let begun = Instant::now();
    let job = jobs.submit(request).await?.into_inner().job;
    let accepting = begun.elapsed();
    let job = Some(v1::JobName { name: Some(v1::job_name::Name::Number(job)) });
    let mut statuses = jobs.watch(v1::WatchRequest { job }).await?.into_inner();
    let mut last = None;
    while let Some(status) = statuses.message().await? {
        last = Some(status);
    }
    let last = last.ok_or("nothing was said of the job")?;
    if last.state() != v1::JobState::Succeeded {
        return Err(format!("the job did not succeed: {}", last.failure_message).into());
    }
    Ok(Took { accepting, running: begun.elapsed() - accepting })
}

fn spec(input: &Path, output: &Path, reduces: u32) -> Result<v1::JobSpec> {
    // The coordinator's own executable need not be uploaded.
    let own = fs::read(env!("CARGO_BIN_EXE_windrow"))?;
    let digest = blake3::hash(&own).as_bytes().to_vec().into();
    let executable = v1::Blob { digest, bytes: own.len() as u64 };
    Ok(v1::JobSpec {
        job: "word-count".into(),
        params: "{}".into(),
        inputs: vec![v1::JobInput { name: String::new(), pattern: input.display().to_string() }],
        output: output.display().to_string(),
        options: Some(v1::JobOptions {
            reducers: Some(reduces),
            split_bytes: Some(LINE_BYTES),
            ..Default::default()
        }),
        program: Some(v1::JobExecutable { executable: Some(executable), ..Default::default() }),
        ..Default::default()
    })
}

/// Input for this many maps: the lines of one file, or a folder of files with a line each.
pub fn write_input(path: &Path, maps: u64, files: bool) -> Result<()> {
    const LINE: &[u8; LINE_BYTES as usize] = b"fifteen letters\n";
    if files {
        fs::create_dir(path)?;
        for number in 0..maps {
            fs::write(path.join(format!("{number:07}")), LINE)?;
        }
        return Ok(());
    }
    let mut file = BufWriter::new(File::create(path)?);
    for _ in 0..maps {
        file.write_all(LINE)?;
    }
    Ok(file.flush()?)
}
