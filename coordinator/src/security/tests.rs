use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use tonic::Code;
use windrow_security::access::{Authorizer, Caller};
use windrow_security::{Certified, FreshKey};

use super::methods::{TABLE, Who};
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn cluster() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster");
    init(&path, &["coordinator.example".to_string(), "10.1.2.3".to_string()]).unwrap();
    (dir, path)
}

fn security(path: &Path) -> Security {
    Security::open(path, HOUR, HOUR).unwrap()
}

/// Enrolls with a token for this role.
fn member(path: &Path, role: Role) -> Certified {
    let security = security(path);
    let token = issue_token(path, role, Some("somebody"), HOUR).unwrap();
    let request = FreshKey::draw().unwrap().request().unwrap();
    let (_, certificate) = security.enroll(&token.id, &token.secret, &request, &[]).unwrap();
    Certified::read(&certificate.into()).unwrap()
}

/// What the processes of a job show.
fn job(path: &Path, job: JobIdentity) -> Certified {
    let request = FreshKey::draw().unwrap().request().unwrap();
    let certificate = security(path).certify_job(job, &request).unwrap();
    Certified::read(&certificate.into()).unwrap()
}

/// `/package.Service/Method` of every method in the `.proto` files.
fn methods() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let folder = fs::read_dir(root.join("windrow/v1")).unwrap();
    let files = folder.map(|entry| entry.unwrap().path());
    let descriptors = protox::compile(files, [&root]).unwrap();
    let mut methods = BTreeSet::new();
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                methods.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    methods
}

#[test]
fn every_method_has_a_row_and_no_other_has() {
    let rows: BTreeSet<String> = TABLE.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(rows.len(), TABLE.len(), "a method has two rows");
    assert_eq!(rows, methods());
}

/// Prints the table, with `cargo test -- --nocapture every_method_and_every_caller`.
#[test]
fn every_method_and_every_caller() {
    let (_dir, path) = cluster();
    let (_other_dir, other_path) = cluster();
    let authorizer = MembersOnly::new(security(&path), None);
    let stranger = Caller::new(Some(member(&other_path, Role::Admin)));
    let roles = [Role::Worker, Role::Submitter, Role::Admin];
    let [worker, submitter, admin] = roles.map(|role| (role, member(&path, role)));
    let members = [worker, submitter, admin, (Role::Job, job(&path, JobIdentity(17)))];
    let members = members.map(|(role, certified)| (role, Caller::new(Some(certified))));
    println!(
        "{:<34} {:<8} {:<8} {:<8} {:<10} {:<8} job",
        "method", "nobody", "other CA", "worker", "submitter", "admin"
    );
    for method in methods() {
        let (_, who) = *TABLE.iter().find(|(name, _)| *name == method).unwrap();
        let answer =
            |caller: &Caller| authorizer.admit(&method, caller).err().map(|status| status.code());
        let anonymous = answer(&Caller::default());
        let strange = answer(&stranger);
        let of_members = members.each_ref().map(|(role, caller)| (*role, answer(caller)));
        match who {
            Who::Newcomers => {
                assert_eq!((anonymous, strange), (None, None), "{method}");
                assert!(of_members.iter().all(|(_, answer)| answer.is_none()), "{method}");
            }
            Who::Members(allowed) => {
                assert_eq!(anonymous, Some(Code::Unauthenticated), "{method}");
                assert_eq!(strange, Some(Code::PermissionDenied), "{method}");
                for (role, answer) in of_members {
                    let expected = (!allowed.contains(&role)).then_some(Code::PermissionDenied);
                    assert_eq!(answer, expected, "{method} as {role}");
                }
            }
            Who::Nobody => {
                let all = of_members.map(|(_, answer)| answer);
                let all = [anonymous, strange].into_iter().chain(all);
                assert!(all.into_iter().all(|answer| answer.is_some()), "{method}");
            }
        }
        let mark = |answer: Option<Code>| if answer.is_none() { "yes" } else { "-" };
        let [worker, submitter, admin, job] = of_members.map(|(_, answer)| mark(answer));
        let (anonymous, strange) = (mark(anonymous), mark(strange));
        let line = format!("{method:<34} {anonymous:<8} {strange:<8} {worker:<8} {submitter:<10}");
        println!("{line} {admin:<8} {job}");
    }
}

#[test]
fn unknown_methods_are_for_nobody() {
    let (_dir, path) = cluster();
    let authorizer = MembersOnly::new(security(&path), None);
    let admin = Caller::new(Some(member(&path, Role::Admin)));
    for method in [
        "/windrow.v1.Jobs/submit",
        "/windrow.v1.Jobs/Submit/",
        "/",
        "",
        "/grpc.health.v1.Health/Check",
    ] {
        let code = authorizer.admit(method, &admin).unwrap_err().code();
        assert_eq!(code, Code::PermissionDenied, "{method}");
    }
}

#[test]
fn a_certificate_counts_for_its_time_and_until_it_is_revoked() {
    let (_dir, path) = cluster();
    let authorizer = MembersOnly::new(security(&path), None);
    let worker = member(&path, Role::Worker);
    let expired_for = |age| {
        let not_after = SystemTime::now() - age;
        Caller::new(Some(Certified { not_before: not_after - HOUR, not_after, ..worker.clone() }))
    };
    let (open, renew) = ("/windrow.v1.Sessions/Open", "/windrow.v1.Enrollment/Renew");
    let is_refused = |method: &str, age| {
        let status = authorizer.admit(method, &expired_for(age)).unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().contains("expired"), "{}", status.message());
    };
    // Within the grace of an hour, it gets another certificate, and nothing else.
    is_refused(open, HOUR / 2);
    authorizer.admit(renew, &expired_for(HOUR / 2)).unwrap();
    is_refused(renew, HOUR * 2);
    is_refused("/windrow.v1.Enrollment/CertifyJob", HOUR / 2);
    let caller = Caller::new(Some(worker.clone()));
    authorizer.admit(open, &caller).unwrap();
    fs::write(path.join("revoked"), "submitter/x\nworker/somebody\n").unwrap();
    let status = authorizer.admit(open, &caller).unwrap_err();
    assert!(status.message().contains("revoked"), "{}", status.message());
    let status = authorizer.admit(renew, &expired_for(HOUR / 2)).unwrap_err();
    assert!(status.message().contains("revoked"), "{}", status.message());
}

#[test]
fn who_is_inside_is_shut_out_when_revoked() {
    let (_dir, path) = cluster();
    let authorizer = MembersOnly::new(security(&path), None);
    let enter = |certified| {
        let caller = Caller::new(Some(certified));
        authorizer.admit("/windrow.v1.Enrollment/Renew", &caller).unwrap();
        caller
    };
    let [worker, submitter] =
        [Role::Worker, Role::Submitter].map(|role| enter(member(&path, role)));
    let is_out = || [&worker, &submitter].map(Caller::is_shut_out);
    authorizer.look();
    assert_eq!(is_out(), [false, false]);
    fs::write(path.join("revoked"), "worker/somebody\n").unwrap();
    authorizer.look();
    assert_eq!(is_out(), [true, false]);
}

/// What stands ends with the certificate that it was begun with, unless its member has a newer one.
#[test]
fn who_is_inside_is_shut_out_when_its_certificate_ends() {
    let (_dir, path) = cluster();
    let security = security(&path);
    let authorizer = MembersOnly::new(security.clone(), None);
    let now = SystemTime::now();
    let [worker, submitter] = [Role::Worker, Role::Submitter].map(|role| {
        let soon = Certified { not_after: now + HOUR / 60, ..member(&path, role) };
        let caller = Caller::new(Some(soon));
        authorizer.admit("/windrow.v1.Enrollment/Renew", &caller).unwrap();
        caller
    });
    let is_out = || [&worker, &submitter].map(Caller::is_shut_out);
    authorizer.look_at(now + HOUR / 120);
    assert_eq!(is_out(), [false, false]);
    let request = FreshKey::draw().unwrap().request().unwrap();
    security.renew(submitter.identity().unwrap(), &request).unwrap();
    authorizer.look_at(now + HOUR / 30);
    assert_eq!(is_out(), [true, false]);
    authorizer.look_at(now + HOUR * 48);
    assert_eq!(is_out(), [true, true]);
}

/// Whoever can spoil the list, or a disk that fails, keeps nobody inside.
#[test]
fn a_list_that_cannot_be_read_keeps_nobody_inside() {
    let (_dir, path) = cluster();
    let authorizer = MembersOnly::new(security(&path), None);
    let [worker, submitter] = [Role::Worker, Role::Submitter].map(|role| {
        let caller = Caller::new(Some(member(&path, role)));
        authorizer.admit("/windrow.v1.Enrollment/Renew", &caller).unwrap();
        caller
    });
    let list = path.join("revoked");
    fs::write(&list, "submitter/nobody\n").unwrap();
    authorizer.look();
    fs::remove_file(&list).unwrap();
    symlink(&list, &list).unwrap();
    let call =
        authorizer.admit("/windrow.v1.Enrollment/Renew", &Caller::new(worker.certified().cloned()));
    assert!(call.is_err(), "the list may name them");
    authorizer.look();
    let is_out = || [&worker, &submitter].map(Caller::is_shut_out);
    assert_eq!(is_out(), [false, false]);
    authorizer.look_at(SystemTime::now() + HOUR * 48);
    assert_eq!(is_out(), [true, true]);
}

#[test]
fn a_list_that_makes_no_sense_keeps_everybody_out_who_was() {
    let (_dir, path) = cluster();
    let authorizer = MembersOnly::new(security(&path), None);
    let list = path.join("revoked");
    let members = [Role::Submitter, Role::Worker].map(|role| (role, member(&path, role)));
    fs::write(&list, "submitter/somebody # left\n").unwrap();
    let call = |wanted| {
        let (_, certified) = members.iter().find(|(role, _)| *role == wanted).unwrap();
        authorizer.admit("/windrow.v1.Enrollment/Renew", &Caller::new(Some(certified.clone())))
    };
    assert!(call(Role::Submitter).unwrap_err().message().contains("revoked"));
    fs::write(&list, "Submitter/somebody\nworker/somebody\n").unwrap();
    assert!(call(Role::Submitter).is_err() && call(Role::Worker).is_err());
    let error = Security::open(&path, HOUR, HOUR).err().unwrap().to_string();
    assert!(error.contains("revoked, line 1: 'Submitter/somebody' names no member"), "{error}");
}

/// Nobody waits for it, and who was out stays out. What is no text is a line like others.
#[test]
fn something_else_in_the_place_of_the_list_keeps_everybody_out_who_was() {
    type Put = fn(&Path);
    let puts: [(Put, &str); 5] = [
        (|list| mknodat(CWD, list, FileType::Fifo, Mode::RWXU, 0).unwrap(), "no regular file"),
        (|list| symlink("/dev/zero", list).unwrap(), "no regular file"),
        (|list| fs::create_dir(list).unwrap(), "no regular file"),
        (|list| fs::write(list, vec![b'\n'; 5 << 20]).unwrap(), "larger than"),
        (|list| fs::write(list, b"# J\xfcrg\nsubmitter/\xff\n").unwrap(), "line 2: "),
    ];
    for (put, said) in puts {
        let (_dir, path) = cluster();
        let authorizer = MembersOnly::new(security(&path), None);
        let list = path.join("revoked");
        let members = [Role::Submitter, Role::Worker].map(|role| member(&path, role));
        fs::write(&list, "submitter/somebody\n").unwrap();
        authorizer.look();
        fs::remove_file(&list).unwrap();
        put(&list);
        authorizer.look();
        let call = |n: usize| {
            let caller = Caller::new(Some(members[n].clone()));
            authorizer.admit("/windrow.v1.Enrollment/Renew", &caller)
        };
        assert!(call(0).unwrap_err().message().contains("revoked"), "{said}");
        call(1).unwrap();
        let error = Security::open(&path, HOUR, HOUR).err().unwrap().to_string();
        assert!(error.contains("revoked") && error.contains(said), "{error}");
        if said == "no regular file" {
            let error = revoke(&path, &"worker/w1".parse().unwrap(), true).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}

#[test]
fn members_are_revoked_by_name() {
    let (_dir, path) = cluster();
    issue_token(&path, Role::Worker, Some("w1"), HOUR).unwrap();
    // As an editor may leave it.
    fs::write(path.join("revoked"), "submitter/gone").unwrap();
    let revoke = |text: &str, unknown| revoke(&path, &text.parse().unwrap(), unknown);
    assert!(revoke("worker/w1", false).unwrap());
    assert!(!revoke("worker/w1", false).unwrap());
    let error = revoke("worker/w2", false).unwrap_err().to_string();
    assert!(error.contains("has given no token to worker/w2"), "{error}");
    assert!(revoke("worker/w2", true).unwrap() && revoke("admin/admin", false).unwrap());
    let text = fs::read_to_string(path.join("revoked")).unwrap();
    assert_eq!(text, "submitter/gone\nworker/w1\nworker/w2\nadmin/admin\n");
    for wrong in ["w1", "job/1", "Worker/w1", "worker/a b", "worker/"] {
        assert!(wrong.parse::<Member>().is_err(), "{wrong}");
    }
}

#[test]
fn jobs_and_coordinators_do_not_join_by_token() {
    let (_dir, path) = cluster();
    for role in [Role::Job, Role::Coordinator] {
        assert!(issue_token(&path, role, None, HOUR).is_err(), "{role}");
    }
    let identity = job(&path, JobIdentity(17)).identity;
    assert_eq!((identity.role(), identity.name()), (Role::Job, "00000000000000000000000000000011"));
}

#[test]
fn a_token_is_spent_once_whoever_tries() {
    let (_dir, path) = cluster();
    let token = issue_token(&path, Role::Worker, None, HOUR).unwrap();
    let request = FreshKey::draw().unwrap().request().unwrap();
    let both = [security(&path), security(&path)];
    let spent: Vec<_> = std::thread::scope(|scope| {
        let (token, request) = (&token, &request);
        let tries = (0..8).map(|n| {
            let security = &both[n % 2];
            scope.spawn(move || security.enroll(&token.id, &token.secret, request, &[]))
        });
        tries.collect::<Vec<_>>().into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(spent.iter().filter(|one| one.is_ok()).count(), 1);
    for refused in spent.iter().filter_map(|one| one.as_ref().err()) {
        assert!(refused.to_string().contains("spent"), "{refused}");
    }
}

#[test]
fn what_is_no_file_among_the_tokens_or_in_the_place_of_the_hosts_is_not_waited_for() {
    let (_dir, path) = cluster();
    let (id, security) = ("0123456789abcdef", security(&path));
    let hosts = path.join("hosts");
    fs::remove_file(&hosts).unwrap();
    for pipe in [&path.join("tokens").join(id), &hosts] {
        mknodat(CWD, pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    }
    let request = FreshKey::draw().unwrap().request().unwrap();
    let error = security.enroll(id, b"secret", &request, &[]).unwrap_err().to_string();
    assert!(error.contains(id) && error.contains("no regular file"), "{error}");
    assert!(!knows(&path, Role::Worker, "w1").unwrap());
    issue_token(&path, Role::Worker, Some("w1"), HOUR).unwrap();
    assert!(knows(&path, Role::Worker, "w1").unwrap());
    let error = Security::open(&path, HOUR, HOUR).err().unwrap().to_string();
    assert!(error.contains("hosts") && error.contains("no regular file"), "{error}");
}

#[test]
fn what_is_not_a_token_of_ours_spends_nothing() {
    let (_dir, path) = cluster();
    let security = security(&path);
    let token = issue_token(&path, Role::Worker, None, HOUR).unwrap();
    let request = FreshKey::draw().unwrap().request().unwrap();
    for id in ["", "..", "../cluster", "0123456789abcdef", &token.id.to_uppercase(), "a/b"] {
        let secret = [&token.secret[..], b"x"].concat();
        assert!(security.enroll(id, &secret, &request, &[]).is_err(), "{id}");
    }
    assert!(security.enroll(&token.id, b"guess", &request, &[]).is_err());
    assert!(security.enroll(&token.id, &token.secret, b"no request", &[]).is_err());
    assert!(security.enroll(&token.id, &token.secret, &request, &[]).is_ok(), "still good");
}

#[test]
fn a_token_for_another_role_is_not_spent() {
    let (_dir, path) = cluster();
    let security = security(&path);
    let token = issue_token(&path, Role::Submitter, None, HOUR).unwrap();
    let request = FreshKey::draw().unwrap().request().unwrap();
    let enroll = |roles: &[Role]| security.enroll(&token.id, &token.secret, &request, roles);
    let error = enroll(&[Role::Worker, Role::Admin]).unwrap_err().to_string();
    for part in ["for a new submitter", "to be a worker or admin", "--role worker", "not spent"] {
        assert!(error.contains(part), "{error}");
    }
    let (identity, _) = enroll(&[Role::Submitter, Role::Admin]).unwrap();
    assert_eq!(identity.role(), Role::Submitter);
}

#[test]
fn an_expired_token_is_refused() {
    let (_dir, path) = cluster();
    let token = issue_token(&path, Role::Worker, None, Duration::ZERO).unwrap();
    // Its time is in seconds.
    let file = path.join("tokens").join(&token.id);
    let text = fs::read_to_string(&file).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    record["expires_unix_s"] = 1.into();
    fs::write(&file, record.to_string()).unwrap();
    let request = FreshKey::draw().unwrap().request().unwrap();
    let error = security(&path).enroll(&token.id, &token.secret, &request, &[]).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[test]
fn the_folder_is_its_owners_alone_and_never_replaced() {
    let (_dir, path) = cluster();
    issue_token(&path, Role::Worker, None, HOUR).unwrap();
    let mut folders = vec![path.clone()];
    while let Some(folder) = folders.pop() {
        let mode = |of: &Path| fs::metadata(of).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
    let before = fs::read(path.join("ca-key.pem")).unwrap();
    assert!(init(&path, &[]).unwrap_err().to_string().contains("exists"));
    assert_eq!(fs::read(path.join("ca-key.pem")).unwrap(), before);
}

#[test]
fn a_failed_init_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(init(&dir.path().join("c"), &["no host".to_string()]).is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
