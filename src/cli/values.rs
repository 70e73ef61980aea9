//! What the values of arguments may be, and what is said of others.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use windrow_jobs::side_files::check_name;
use windrow_jobs::{BadRecordBudget, StageId, one_line};
use windrow_proto::v1;
use windrow_security::Role;

/// The longest duration, for users who mean "for ever": no clock here counts much further.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
/// The longest name that a coordinator takes.
const NAME_BYTES_MAX: usize = 256;

/// More than any machine has: a slip of the pen.
const SIZE_MAX: u64 = 1 << 60;
/// More than any machine can address.
const MEMORY_BYTES_MAX: u64 = 64 << 40;
/// Less is a slip of the pen, such as `--memory 4` for 4 GiB, or slow: to sort 200 MiB takes 4 s
/// with 1 MiB, 8 s with 512 KiB, 20 s with 256 KiB, and more than a minute with less.
const MEMORY_BYTES_MIN: u64 = 512 << 10;

/// A size within bounds: beyond them, nothing would work.
fn size_within(text: &str, least: u64, most: u64) -> Result<ByteSize, String> {
    let Ok(size) = text.parse::<ByteSize>() else {
        return Err("must be a size, such as 512MiB or 2GB".to_string());
    };
    let shown = |bytes| ByteSize(bytes).display().iec();
    match size.0 {
        bytes if bytes < least => Err(format!("must be at least {}", shown(least))),
        bytes if bytes > most => Err(format!("must be at most {}", shown(most))),
        _ => Ok(size),
    }
}

/// A size of at least so many bytes.
pub(super) fn size_from(least: u64) -> impl Fn(&str) -> Result<ByteSize, String> + Clone {
    move |text| size_within(text, least, SIZE_MAX)
}

pub(super) fn positive_size(text: &str) -> Result<ByteSize, String> {
    size_within(text, 1, SIZE_MAX)
}

/// Memory for the data of jobs.
pub(super) fn memory(text: &str) -> Result<ByteSize, String> {
    size_within(text, MEMORY_BYTES_MIN, MEMORY_BYTES_MAX)
}

/// A whole number within bounds.
pub(super) fn number<N>(
    within: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: Copy + PartialOrd + Display + FromStr + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| within.contains(number));
        number.ok_or_else(|| {
            format!("must be a whole number from {} to {}", within.start(), within.end())
        })
    }
}

/// A duration of at least so many milliseconds: with less, nothing would work.
pub(super) fn duration_from(
    least_ms: u64,
) -> impl Fn(&str) -> Result<humantime::Duration, String> + Clone {
    let least = Duration::from_millis(least_ms);
    move |text| {
        let Ok(duration) = text.parse::<humantime::Duration>() else {
            return Err("must be a duration, such as 90s or 5m".to_string());
        };
        match *duration {
            short if short < least => {
                Err(format!("must be at least {}", humantime::format_duration(least)))
            }
            long if long > DURATION_MAX => Err("must be at most 100 years".to_string()),
            _ => Ok(duration),
        }
    }
}

pub(super) fn any_duration(text: &str) -> Result<humantime::Duration, String> {
    duration_from(0)(text)
}

/// A name that is kept by a coordinator.
pub(super) fn short_name(text: &str) -> Result<String, String> {
    match text.len() {
        1..=NAME_BYTES_MAX => Ok(text.to_string()),
        bytes => Err(format!("must have 1 to {NAME_BYTES_MAX} bytes, and has {bytes}")),
    }
}

/// A user of this machine, by number, or by a name in the list of its own users.
pub(super) fn local_user(text: &str) -> Result<u32, String> {
    let number = number_of_user(text)?;
    if windrow_security::nobodys_number() == Some(number) {
        return Err(format!(
            "{number} stands for all users whom this user namespace (container) does not number, and would let in all of them"
        ));
    }
    Ok(number)
}

fn number_of_user(text: &str) -> Result<u32, String> {
    number_in("/etc/passwd", text).ok_or_else(|| {
        format!("/etc/passwd knows no user '{}'; give the number that 'id -u' says", one_line(text))
    })
}

/// A group of this machine, by number, or by a name in the list of its own groups.
pub(super) fn local_group(text: &str) -> Result<u32, String> {
    number_in("/etc/group", text)
        .ok_or_else(|| format!("/etc/group knows no group '{}'; give its number", one_line(text)))
}

/// The number, or that of the name in a list of users or groups.
fn number_in(list: &str, text: &str) -> Option<u32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    std::fs::read_to_string(list).unwrap_or_default().lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(text);
        is_it.then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// Numbers of users, `FIRST-LAST`.
pub(super) fn user_numbers(text: &str) -> Result<RangeInclusive<u32>, String> {
    let numbers = text
        .split_once('-')
        .and_then(|(first, last)| Some(first.trim().parse().ok()?..=last.trim().parse().ok()?));
    match numbers {
        Some(numbers) if !numbers.is_empty() => Ok(numbers),
        _ => Err("must be a first and a last user number, such as 2000000000-2000000999".into()),
    }
}

/// A role that is given by a join token.
pub(super) fn role_of_member(text: &str) -> Result<Role, String> {
    let mut roles = [Role::Worker, Role::Submitter, Role::Admin].into_iter();
    roles
        .find(|role| role.name() == text)
        .ok_or("it is one of worker, submitter, admin".to_string())
}

pub(super) fn log_task(text: &str) -> Result<v1::LogsOfTask, String> {
    let (stage, task) = text.split_once('-').unwrap_or_default();
    let stage = StageId::named(stage).ok_or("must be a task such as map-3 or reduce-0")?;
    let task = task.parse().map_err(|_| "must end with the number of a task".to_string())?;
    Ok(v1::LogsOfTask { stage: stage.to_number(), task })
}

pub(super) fn side_file(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("must be NAME=PATH")?;
    check_name(name).map_err(|error| error.message().to_string())?;
    Ok((name.to_string(), PathBuf::from(path)))
}

pub(super) fn absolute_path(text: &str) -> Result<String, String> {
    if !Path::new(text).is_absolute() {
        return Err(
            "must be an absolute path, since other processes start in other folders".to_string()
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
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn check_texts(text: &str) {
    let _ = budget(text);
    if let Ok(bytes) = positive_size(text) {
        assert!(bytes.0 > 0);
    }
    if let Ok(duration) = any_duration(text) {
        assert!(*duration <= DURATION_MAX);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_its_bound() {
        let of = |text| duration_from(1_000)(text).map(|duration| *duration);
        assert_eq!(of("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(of("999ms"), Err("must be at least 1s".to_string()));
        assert_eq!(of("0s"), Err("must be at least 1s".to_string()));
        assert_eq!(of("99999999y"), Err("must be at most 100 years".to_string()));
        assert_eq!(of("soon"), Err("must be a duration, such as 90s or 5m".to_string()));
        assert_eq!(size_from(16 << 20)("16MiB"), Ok(ByteSize(16 << 20)));
        assert_eq!(size_from(16 << 20)("1KB"), Err("must be at least 16.0 MiB".to_string()));
        let no_size = Err("must be a size, such as 512MiB or 2GB".to_string());
        for text in ["", "abc", "1e9", "-1", "1 2", "NaN", "0x10"] {
            assert_eq!(positive_size(text), no_size, "{text}");
        }
        assert_eq!(positive_size("0"), Err("must be at least 1 B".to_string()));
        assert_eq!(memory("511KiB"), Err("must be at least 512.0 KiB".to_string()));
        assert_eq!(memory("99999999999999TB"), Err("must be at most 64.0 TiB".to_string()));
        assert_eq!(number(2..=1_024_u32)("1024"), Ok(1_024));
        for text in ["", "1", "1025", "x", "-3", "99999999999999999999"] {
            let said = Err("must be a whole number from 2 to 1024".to_string());
            assert_eq!(number(2..=1_024_u32)(text), said, "{text}");
        }
        let name = short_name(&"x".repeat(5_000));
        assert_eq!(name, Err("must have 1 to 256 bytes, and has 5000".to_string()));
        assert!(short_name("").is_err() && short_name("nightly").is_ok());
    }
}
