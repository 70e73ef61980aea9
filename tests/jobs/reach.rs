//! Tries to access what its input names: each line gives an action and its arguments. A refused
//! line fails the job, unless it begins with `try`; the output has the results.

use std::fs::{self, File, Permissions};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr as LocalAddr, UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, fchmod, open};
use rustix::net::{AddressFamily, SocketType, listen, socket};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit, setpriority_process,
    test_kill_process,
};
use serde::{Deserialize, Serialize};
use windrow::prelude::*;

#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct ReachParams {}

struct Reach;

pub fn job() -> Job {
    Job::with_params("reach", |_: &ReachParams| Ok(Job::new("reach", Reach).reduce(Count)))
}

/// Carries out a line.
fn act(line: &str) -> Result<()> {
    let (act, what) = line.split_once(' ').unwrap_or((line, ""));
    match act {
        "read" => drop(fs::read(what)?),
        "list" => drop(fs::read_dir(what)?),
        "write" => fs::write(what, "harm")?,
        "remove" => fs::remove_dir_all(what)?,
        "chmod" => fs::set_permissions(what, Permissions::from_mode(0o700))?,
        "lock" => fs::set_permissions(what, Permissions::from_mode(0o000))?,
        "fchmod" => File::open(what)?.set_permissions(Permissions::from_mode(0o600))?,
        "bare" => {
            let file = open(what, OFlags::WRONLY | OFlags::RDWR, Mode::empty())?;
            fchmod(file, Mode::from_raw_mode(0o600))?;
        }
        "disguise" => {
            let file = File::create(std::env::temp_dir().join("program"))?;
            file.set_permissions(Permissions::from_mode(0o4755))?;
        }
        "exchange" => exchange(what)?,
        "plant" => plant(what)?,
        "temporary" => {
            let file = std::env::temp_dir().join("file");
            fs::write(&file, "")?;
            fs::remove_file(Path::new(&file))?;
        }
        "run" => run(what)?,
        _ => return reach_processes(act, what),
    }
    Ok(())
}

/// Runs a script in a shell.
fn run(script: &str) -> Result<()> {
    let done = Command::new("sh").args(["-ec", script]).output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(Error::new(said.into_owned())) }
}

/// Replaces the first path by a link to the second, and dies, so that the next attempt has another
/// process.
fn exchange(paths: &str) -> Result<()> {
    let (place, to) = paths.split_once(' ').ok_or_else(|| Error::new("two paths"))?;
    if fs::symlink_metadata(place)?.is_symlink() {
        return Ok(());
    }
    fs::rename(place, format!("{place}.moved"))?;
    symlink(to, place)?;
    std::process::abort()
}

fn reach_processes(act: &str, what: &str) -> Result<()> {
    let process = || Pid::from_raw(what.parse().ok()?);
    let process = || process().ok_or_else(|| Error::new("no process"));
    match act {
        "signal" => kill_process(process()?, Signal::TERM)?,
        "ask" => test_kill_process(process()?)?,
        "limit" => {
            let all = getrlimit(Resource::Core);
            let limit = Rlimit { current: Some(0), maximum: all.maximum };
            let _before = prlimit(Some(process()?), Resource::Core, limit)?;
        }
        "slow" => setpriority_process(Some(process()?), 1)?,
        "connect" => drop(TcpStream::connect(what)?),
        "listen" => drop(TcpListener::bind(what.parse::<SocketAddr>()?)?),
        "wait" => listen(socket(AddressFamily::INET, SocketType::STREAM, None)?, 1)?,
        "receive" => drop(UdpSocket::bind(what.parse::<SocketAddr>()?)?),
        "local" => drop(UnixStream::connect(what)?),
        "post" => drop(UnixDatagram::pair()?.0.send_to(b"", what)?),
        "abstract" => {
            let address = LocalAddr::from_abstract_name(what)?;
            drop(UnixStream::connect_addr(&address)?);
        }
        "share" => {
            // A program that creates System V shared memory.
            let made =
                Command::new("ipcmk").args(["-M", "4096"]).stdout(Stdio::piped()).output()?;
            let said = String::from_utf8_lossy(&made.stdout).into_owned();
            let id = said.rsplit(' ').next().unwrap_or_default().trim().to_string();
            if !made.status.success() {
                return Err(Error::new(String::from_utf8_lossy(&made.stderr)));
            }
            Command::new("ipcrm").args(["-m", &id]).status()?;
        }
        _ => return Err(Error::new("it cannot do that")),
    }
    Ok(())
}

/// Puts a link into the staging folder of an output: `OUTPUT NAME TARGET`.
fn plant(what: &str) -> Result<()> {
    let words: Vec<_> = what.split(' ').collect();
    let [output, name, target] = words[..] else { return Err(Error::new("three words")) };
    let temporary = Path::new(output).join("_temporary");
    for entry in fs::read_dir(temporary)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("attempts-") {
            symlink(target, entry.path().join(name))?;
        }
    }
    Ok(())
}

impl Mapper for Reach {
    type Input = Line;
    type Key = str;
    type Value = ();

    fn map(&self, line: &str, out: &mut impl Emit<str, ()>) -> Result<()> {
        if let Some(tried) = line.strip_prefix("try ") {
            let outcome = act(tried).map_or("refused", |()| "done");
            return out.emit(&format!("{outcome} {tried}"), ());
        }
        act(line).map_err(|error| Error::new(format!("{line}: {}", error.message())))?;
        out.emit("done", ())
    }
}
