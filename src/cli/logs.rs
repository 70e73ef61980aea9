//! `windrow logs`: what the processes of a job have printed.
//!
//! Jobs may print anything. On a terminal, control characters are escaped; files and pipes get the
//! bytes as they are.

use std::io::{IsTerminal, stdout};

use serde_json::json;
use windrow_proto::v1;

use super::args::LogsArgs;
use super::error::CliError;
use super::exit::Exit;
use super::observe::{connect, no_such_job};
use super::{stderr, stdout};

pub(crate) async fn logs(args: LogsArgs) -> Result<Exit, CliError> {
    let LogsArgs { job, task, cluster } = args;
    let client = connect(&cluster).await?;
    let mut logs = client.logs(job, task).await.map_err(no_such_job)?;
    let is_terminal = stdout().is_terminal();
    let mut is_empty = true;
    while let Some(log) = logs.message().await.map_err(|status| client.error(status))? {
        is_empty = false;
        if cluster.json {
            stdout::line(format_args!("{}", to_json(&log)));
        } else {
            stdout::bytes(&to_text(&log, is_terminal));
        }
    }
    if is_empty && !cluster.json {
        stderr::line(format_args!("windrow: nothing was printed, or it is no longer kept"));
    }
    Ok(Exit::Success)
}

fn to_text(log: &v1::ProcessLog, is_terminal: bool) -> Vec<u8> {
    let v1::Printed { process, bytes, tail, .. } = log.printed.clone().unwrap_or_default();
    let mut text =
        format!("==> {}, process {process} <==\n", shown(log.worker.as_bytes())).into_bytes();
    let left_out = bytes.saturating_sub(tail.len() as u64);
    if left_out > 0 {
        text.extend(format!("[{left_out} bytes are left out]\n").bytes());
    }
    if is_terminal {
        text.extend(shown(&tail).bytes());
    } else {
        text.extend_from_slice(&tail);
    }
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text
}

/// As a terminal may get it.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn to_json(log: &v1::ProcessLog) -> serde_json::Value {
    let v1::Printed { process, bytes, tail, .. } = log.printed.clone().unwrap_or_default();
    json!({
        "worker": log.worker,
        "process": process,
        "bytes": bytes,
        "text": String::from_utf8_lossy(&tail),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_but_text() {
        let tail = &b"a\x1b[2Jb\r\xff\tc"[..];
        let printed =
            v1::Printed { process: 3, bytes: 20, tail: tail.into(), ..Default::default() };
        let log = v1::ProcessLog { worker: "w\x07".into(), printed: Some(printed) };
        let before = "==> w\\u{7}, process 3 <==\n[10 bytes are left out]\n";
        let text = String::from_utf8(to_text(&log, true)).unwrap();
        assert_eq!(text, format!("{before}a\\u{{1b}}[2Jb\\r\u{fffd}\tc\n"));
        assert_eq!(to_text(&log, false), [before.as_bytes(), tail, b"\n"].concat());
    }
}
