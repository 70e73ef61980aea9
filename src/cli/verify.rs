//! `windrow verify`: whether an output is still what its job wrote.

use bytesize::ByteSize;
use serde_json::json;
use windrow_coordinator::Verified;

use super::args::VerifyArgs;
use super::error::CliError;
use super::exit::Exit;
use super::job_command::given;
use super::stdout;
use super::summary::count;

pub(crate) fn verify(args: &VerifyArgs) -> Result<Exit, CliError> {
    let output = given(&args.output)?;
    let folder = output.to_local().map_err(|error| CliError::Usage(error.to_string()))?;
    let found = windrow_coordinator::verify(folder);
    let Verified { files, bytes, differences, remarks } =
        found.map_err(|error| CliError::Other(error.to_string()))?;
    let is_whole = differences.is_empty();
    if args.json {
        stdout::line(format_args!(
            "{}",
            json!({
                "whole": is_whole, "files": files, "bytes": bytes,
                "differences": differences, "remarks": remarks,
            })
        ));
    } else {
        for line in differences.iter().chain(&remarks) {
            stdout::line(format_args!("{line}"));
        }
        let size = ByteSize(bytes);
        let says = match is_whole {
            true => "matches its manifest".to_string(),
            false => {
                let differences = count(differences.len() as u64, "difference");
                format!(
                    "{differences}; move files that are not the job's elsewhere, or run the job again"
                )
            }
        };
        let files = count(files as u64, "file");
        stdout::line(format_args!("{output}: {files}, {size}: {says}"));
    }
    Ok(if is_whole { Exit::Success } else { Exit::Failure })
}
