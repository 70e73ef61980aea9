//! What the values of arguments may be, and what is said of others.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use windrow_jobs::BadRecordBudget;
use windrow_jobs::side_files::check_name;
use windrow_proto::v1;

pub(super) fn positive_size(text: &str) -> Result<ByteSize, String> {
    match text.parse::<ByteSize>()? {
        ByteSize(0) => Err("must be at least 1 byte".to_string()),
        size => Ok(size),
    }
}

pub(super) fn log_task(text: &str) -> Result<v1::LogsOfTask, String> {
    let (stage, task) = text.split_once('-').unwrap_or_default();
    let stage = match stage {
        "map" => v1::Stage::Map,
        "reduce" => v1::Stage::Reduce,
        _ => return Err("must be a task such as map-3 or reduce-0".to_string()),
    };
    let task = task.parse().map_err(|_| "must end with the number of a task".to_string())?;
    Ok(v1::LogsOfTask { stage: stage.into(), task })
}

pub(super) fn side_file(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("must be NAME=PATH")?;
    check_name(name).map_err(|error| error.message().to_string())?;
    Ok((name.to_string(), PathBuf::from(path)))
}

pub(super) fn absolute_path(text: &str) -> Result<String, String> {
    if !Path::new(text).is_absolute() {
        return Err(
            "must be an absolute path: workers have folders of their own to start from".to_string()
        );
    }
    Ok(text.to_string())
}

pub(super) fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.and_then(|(_, port)| port.parse::<u16>().ok()) {
        None | Some(0) => {
            Err("must be a host and a port, such as worker-3.example.com:7172".to_string())
        }
        Some(_) => Ok(text.to_string()),
    }
}

pub(super) fn budget(text: &str) -> Result<BadRecordBudget, String> {
    text.parse().map_err(|error: windrow_jobs::Error| error.message().to_string())
}

/// For `crate::fuzzing`: any text is taken or refused by the parsers here.
pub(crate) fn check_texts(text: &str) {
    let _ = budget(text);
    if let Ok(bytes) = positive_size(text) {
        assert!(bytes.0 > 0);
    }
    let _ = log_task(text);
    if let Ok((name, _)) = side_file(text) {
        assert!(text.starts_with(&name));
    }
    if let Ok(path) = absolute_path(text) {
        assert!(Path::new(&path).is_absolute());
    }
    let _ = host_and_port(text);
}
