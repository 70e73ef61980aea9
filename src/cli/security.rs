//! `windrow init`, `token`, `login` and `revoke`, and the credentials that all other commands show.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use windrow_coordinator::security::{
    admin_folder, init as init_cluster, issue_token, knows, revoke as revoke_member,
};
use windrow_jobs::one_line;
use windrow_security::files::{folder_of, open_to_others, write_private};
use windrow_security::{
    Credentials, Dialer, JoinToken, Role, SecurityError, Tls, enroll, keep_renewed, renew_if_due,
};

use super::args::{InitArgs, JoinTokenArgs, LoginArgs, RevokeArgs, TargetArgs, TokenArgs};
use super::error::CliError;
use super::exit::Exit;
use super::{stderr, stdout};

/// Those that ask with the commands that need `windrow login`.
const USERS: [Role; 2] = [Role::Submitter, Role::Admin];
/// Those that open sessions.
const WORKERS: [Role; 2] = [Role::Worker, Role::Admin];
/// More than a token has.
const TOKEN_BYTES_MAX: u64 = 1 << 16;

pub(crate) fn init(args: InitArgs) -> Result<Exit, CliError> {
    init_cluster(&args.dir, &args.hosts)?;
    let dir = args.dir.display();
    let host = args.hosts.first().map_or("localhost", String::as_str);
    let admin = admin_folder(&args.dir);
    stdout::text(&format!(
        "{dir} is a new cluster's: keep it where only its coordinator can read it\n\
         \n\
         start the coordinator   windrow coordinator --security {dir} --listen 0.0.0.0:7171 --allow-path /data\n\
         for each worker         windrow token {dir} --role worker --out FILE\n\
         on its machine          windrow worker --coordinator https://{host}:7171 --listen ADDRESS:0 --dir DIR --token-file FILE\n\
         for each user           windrow token {dir} --role submitter --name NAME --out FILE\n\
         on their machine        windrow login --coordinator https://{host}:7171 --token-file FILE\n\
         as the first admin      windrow jobs --coordinator https://{host}:7171 --credentials {}\n",
        admin.display()
    ));
    Ok(Exit::Success)
}

pub(crate) fn token(args: TokenArgs) -> Result<Exit, CliError> {
    let TokenArgs { dir, role, name, out, expires } = args;
    if let Some(out) = &out {
        check_out(out)?;
    }
    if let Some(name) = &name
        && knows(&dir, role, name)?
    {
        stderr::line(format_args!(
            "{role}/{name} has had a token before: whoever uses this one becomes the same member, with its jobs and logs"
        ));
    }
    let token = issue_token(&dir, role, name.as_deref(), expires.into())?;
    match out {
        Some(path) => write_private(&path, format!("{token}\n").as_bytes())?,
        None => stdout::line(format_args!("{token}")),
    }
    Ok(Exit::Success)
}

/// Checks the path before a token is issued in vain. The file replaces what is there, which must
/// not be a device, or a link such as /dev/stdout.
fn check_out(out: &Path) -> Result<(), CliError> {
    let found = fs::symlink_metadata(out);
    if found.is_ok_and(|found| !found.is_file()) {
        return Err(CliError::Other(format!(
            "{} exists and is not a regular file: name another file, or leave out --out to print the token",
            one_line(&out.display().to_string())
        )));
    }
    let tried = tempfile::tempfile_in(folder_of(out));
    tried.map(drop).map_err(|error| CliError::io(out)(error).given_by("--out"))
}

pub(crate) fn revoke(args: RevokeArgs) -> Result<Exit, CliError> {
    let member =
        args.member.parse().map_err(|error: SecurityError| CliError::Usage(error.to_string()))?;
    let said = match revoke_member(&args.dir, &member, args.unknown)? {
        true => "is revoked: its connections are closed within a second",
        false => "was revoked before",
    };
    stdout::line(format_args!("{member} {said}"));
    Ok(Exit::Success)
}

pub(crate) async fn login(args: LoginArgs) -> Result<Exit, CliError> {
    let folder = credentials_folder(args.target.credentials)?;
    let given = TokenSource::of(&args.token).ok_or_else(|| {
        CliError::Usage(
            "'windrow login' takes a join token: name its file (--token-file), or '--token -' to type it".into(),
        )
    })?;
    refuse_token_in_clear(&args.target.coordinator)?;
    let token = given.read()?;
    if !args.replace {
        refuse_to_replace(&folder)?;
    }
    let credentials = enroll(&args.target.coordinator, &token, &USERS).await?;
    credentials.save(&folder)?;
    let certified = credentials.certified();
    stdout::line(format_args!(
        "logged in as {} {} until {}; the credentials are in {}",
        certified.identity.role(),
        certified.identity.name(),
        humantime::format_rfc3339_seconds(certified.not_after),
        folder.display()
    ));
    Ok(Exit::Success)
}

/// Refuses to replace credentials that are still valid: nobody else can cancel their jobs.
fn refuse_to_replace(folder: &Path) -> Result<(), CliError> {
    let Ok(credentials) = Credentials::load(folder) else { return Ok(()) };
    let certified = credentials.certified();
    if certified.check(SystemTime::now()).is_err() {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "{} has the credentials of {} {}, which are valid until {}; keep the new ones elsewhere (--credentials DIR), or say --replace",
        folder.display(),
        certified.identity.role(),
        certified.identity.name(),
        humantime::format_rfc3339_seconds(certified.not_after),
    )))
}

/// Whether members alone can connect there.
pub(crate) fn is_secured(urls: &str) -> bool {
    urls.split(',').any(|url| url.trim().starts_with("https://"))
}

/// A token is a secret, and goes only to those who show who they are.
pub(crate) fn refuse_token_in_clear(urls: &str) -> Result<(), CliError> {
    if is_secured(urls) {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "a join token is for a secured cluster, and {} would not show who answers; say https:// (--coordinator)",
        one_line(urls)
    )))
}

/// How a command connects to its cluster. Credentials that grow old are renewed by the way.
pub(crate) async fn dialer(target: &TargetArgs) -> Result<Dialer, CliError> {
    let urls = &target.coordinator;
    if !is_secured(urls) {
        return Ok(Dialer::plain_of(target.locals.users()));
    }
    let folder = credentials_folder(target.credentials.clone())?;
    let path = Credentials::path(&folder);
    if !path.try_exists().map_err(CliError::io(&path))? {
        return Err(CliError::Usage(format!(
            "{} needs credentials, and there are none in {}; get a join token from who runs the cluster \
             ('windrow token'), and say 'windrow login --coordinator {} --token-file FILE'",
            one_line(urls),
            folder.display(),
            one_line(urls)
        )));
    }
    if let Some(warning) = open_to_others(&path) {
        stderr::line(format_args!("{warning}"));
    }
    let tls = Tls::new(Credentials::load(&folder)?)?;
    let renewed = renew_if_due(&tls, urls, &folder).await;
    match (renewed, tls.certified().check(SystemTime::now())) {
        (Ok(()), Ok(())) => {}
        (Err(error), Ok(())) => {
            stderr::line(format_args!("cannot renew the credentials: {error}"));
        }
        // The cluster says why it does not renew them.
        (Err(error @ SecurityError::Denied(_)), Err(_)) => return Err(error.into()),
        (_, Err(error)) => return Err(error.into()),
    }
    // A wait for a job may outlast a certificate.
    tokio::spawn(keep_renewed(tls.clone(), urls.clone(), folder));
    Ok(Dialer::member(tls))
}

/// The credentials of a worker: those that it has kept, else those that it gets for its token. Kept
/// ones go first, so that a supervisor can restart it with the same, spent token; but not if they
/// are useless to a worker of this cluster.
pub(crate) async fn join(
    urls: &str,
    token: &JoinTokenArgs,
    folder: &Path,
) -> Result<Tls, CliError> {
    let path = Credentials::path(folder);
    let is_joined = path.exists();
    if let Some(warning) = open_to_others(&path) {
        tracing::warn!("{warning}");
    }
    let token = match TokenSource::of(token) {
        // Who starts a worker again may have removed what it was joined with.
        Some(TokenSource::File(file)) if is_joined && !file.exists() => None,
        given => given.map(|given| given.read()).transpose()?,
    };
    let kept = if is_joined { Some(kept(urls, token.as_ref(), folder).await) } else { None };
    let tls = match (kept, token) {
        (Some(Ok(tls)), _) => tls,
        (unusable, Some(token)) => {
            if let Some(Err(reason)) = unusable {
                tracing::warn!(%reason, "replacing the kept credentials");
            }
            let credentials = enroll(urls, &token, &WORKERS).await?;
            credentials.save(folder)?;
            Tls::new(credentials)?
        }
        (Some(Err(error)), None) => return Err(error.into()),
        (None, None) => {
            return Err(CliError::Usage(format!(
                "{} takes members only: give this worker a join token (--token-file), which 'windrow token DIR --role worker' \
                 prints where the cluster was set up",
                one_line(urls)
            )));
        }
    };
    tracing::info!(identity = %tls.certified().identity, "member of the cluster");
    Ok(tls)
}

/// The credentials in a worker's folder.
///
/// # Errors
/// When they are of no use to it, and will be of none later.
async fn kept(urls: &str, token: Option<&JoinToken>, folder: &Path) -> Result<Tls, SecurityError> {
    let tls = Tls::new(Credentials::load(folder)?)?;
    let certified = tls.certified();
    let useless = |why: String| {
        SecurityError::Denied(format!(
            "the credentials in {} are {why}; give this worker a join token (--token-file), which 'windrow token DIR --role \
             worker' prints where the cluster was set up",
            folder.display()
        ))
    };
    let role = certified.identity.role();
    if !WORKERS.contains(&role) {
        return Err(useless(format!("those of a {role}")));
    }
    if token.is_some_and(|token| token.authority != tls.authority()) {
        return Err(useless("of another cluster than the join token".to_string()));
    }
    match certified.check(SystemTime::now()) {
        Ok(()) => return Ok(tls),
        Err(SecurityError::Expired { .. }) => {}
        Err(too_early) => return Err(too_early),
    }
    let Err(error) = renew_if_due(&tls, urls, folder).await else { return Ok(tls) };
    match (error, token) {
        (denied @ SecurityError::Denied(_), _) => Err(denied),
        // The coordinator may be away, and is asked again and again from now on.
        (error, None) => {
            tracing::warn!(%error, "cannot renew the certificate, which has expired");
            Ok(tls)
        }
        (_, Some(_)) => certified.check(SystemTime::now()).map(|()| tls),
    }
}

/// Where a join token is.
pub(crate) enum TokenSource {
    File(PathBuf),
    Input,
    Said(String),
}

impl TokenSource {
    /// As the flags say, or else the environment.
    pub(crate) fn of(given: &JoinTokenArgs) -> Option<Self> {
        Self::first_of(given, variable("WINDROW_TOKEN"))
    }

    fn first_of(given: &JoinTokenArgs, variable: Option<OsString>) -> Option<Self> {
        if let Some(file) = &given.token_file {
            return Some(Self::File(file.clone()));
        }
        let variable = || Some(variable?.to_string_lossy().into_owned());
        let said = given.token.clone().or_else(variable)?;
        Some(if said == "-" { Self::Input } else { Self::Said(said) })
    }

    fn read(self) -> Result<JoinToken, CliError> {
        match self {
            Self::File(path) => {
                let text = fs::File::open(&path).and_then(read_short);
                let text =
                    text.map_err(|error| CliError::io(&path)(error).given_by("--token-file"))?;
                parse(&text, &format!("{}: ", one_line(&path.display().to_string())))
            }
            Self::Input => {
                let text = read_short(io::stdin()).map_err(CliError::io("standard input"))?;
                parse(&text, "standard input: ")
            }
            Self::Said(token) => parse(&token, ""),
        }
    }
}

fn read_short(file: impl Read) -> io::Result<String> {
    let mut text = String::new();
    file.take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// What is wrong with it, and of what `place`, but not what it is.
fn parse(token: &str, place: &str) -> Result<JoinToken, CliError> {
    let wrong = |error: SecurityError| CliError::Usage(format!("{place}{error}"));
    token.trim().parse().map_err(wrong)
}

/// As the user says, or where configurations are by custom.
fn credentials_folder(given: Option<PathBuf>) -> Result<PathBuf, CliError> {
    given.or_else(customary_folder).ok_or_else(|| {
        CliError::Usage("there is no home folder: name one for credentials (--credentials)".into())
    })
}

/// Where this process's user keeps credentials, as the environment says.
pub(crate) fn own_folder() -> Option<PathBuf> {
    let found = variable("WINDROW_CREDENTIALS").map(PathBuf::from).or_else(customary_folder)?;
    std::path::absolute(found).ok()
}

fn customary_folder() -> Option<PathBuf> {
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".config"));
    let configurations = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    Some(configurations?.join("windrow"))
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A supervisor may have the variable set for all that it starts.
    #[test]
    fn flags_go_before_the_variable_of_a_token() {
        let from = |file: Option<&str>, token: Option<&str>, variable: Option<&str>| {
            let token_file = file.map(PathBuf::from);
            let given = JoinTokenArgs { token_file, token: token.map(str::to_string) };
            match TokenSource::first_of(&given, variable.map(OsString::from)) {
                None => "none".to_string(),
                Some(TokenSource::File(path)) => path.display().to_string(),
                Some(TokenSource::Input) => "input".to_string(),
                Some(TokenSource::Said(token)) => token,
            }
        };
        assert_eq!(from(Some("file"), None, Some("variable")), "file");
        assert_eq!(from(None, Some("flag"), Some("variable")), "flag");
        assert_eq!(from(None, Some("-"), Some("variable")), "input");
        assert_eq!(from(None, None, Some("variable")), "variable");
        assert_eq!(from(None, None, None), "none");
    }

    #[test]
    fn what_is_no_token_is_told_by_its_place_and_not_by_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "secret").unwrap();
        let error = TokenSource::File(file.clone()).read().err().unwrap().to_string();
        assert!(error.starts_with(&file.display().to_string()), "{error}");
        assert!(!error.contains("secret"), "{error}");
        // It never ends.
        let endless = TokenSource::File("/dev/zero".into()).read().err().unwrap().to_string();
        assert!(endless.starts_with("/dev/zero: "), "{endless}");
    }

    #[test]
    fn a_token_that_cannot_be_written_is_not_given() {
        let folder = tempfile::tempdir().unwrap();
        check_out(&folder.path().join("token")).unwrap();
        for wrong in ["nothing/token", "."] {
            let error = check_out(&folder.path().join(wrong)).unwrap_err().to_string();
            assert!(error.contains("--out"), "{error}");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}
