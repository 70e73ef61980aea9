use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::*;

const FIRST: u32 = 4_280_000_000;
const GROUP: u32 = 4_280_000_500;

fn of(count: u32) -> JobUsers {
    JobUsers { numbers: FIRST..=FIRST + count - 1, groups: vec![GROUP] }
}

/// Only root can change users.
fn users(count: u32) -> Option<Users> {
    geteuid().is_root().then(|| {
        assert_eq!(of(count).refusal(), None);
        Users::new(of(count)).unwrap()
    })
}

fn claim(users: &Users) -> JobUser {
    users.claim_if_free().unwrap().unwrap()
}

#[tokio::test]
async fn jobs_get_distinct_users_and_ids_are_reused_last() {
    // Ids that no other test of this process claims.
    let mine = JobUsers { numbers: FIRST + 100..=FIRST + 102, groups: vec![GROUP] };
    if !geteuid().is_root() {
        return;
    }
    let [users, others] = [(); 2].map(|()| Arc::new(Users::new(mine.clone()).unwrap()));
    *lock(&users.next) = FIRST + 100;
    *lock(&others.next) = FIRST + 100;
    let number = |user: &JobUser| user.number.as_raw() - FIRST;
    let (first, second) = (claim(&users), claim(&others));
    assert_eq!((number(&first), number(&second)), (100, 101));
    drop(first);
    let third = claim(&users);
    assert_eq!(number(&third), 102);
    let fourth = claim(&users);
    assert_eq!(number(&fourth), 100);
    assert!(users.claim_if_free().unwrap().is_none());
    // A job waits until any worker releases an id, but not after its cancellation.
    let wanted = CancellationToken::new();
    let (waiting, unwanted) = (Arc::clone(&users), wanted.clone());
    let waits = tokio::spawn(async move { waiting.claim(&unwanted).await });
    tokio::task::yield_now().await;
    drop(second);
    let fifth = waits.await.unwrap().unwrap().unwrap();
    assert_eq!(number(&fifth), 101);
    wanted.cancel();
    assert!(users.claim(&wanted).await.unwrap().is_none());
}

#[test]
fn a_restarted_worker_begins_with_another_user() {
    let of = JobUsers { numbers: FIRST..=FIRST + 9_999, groups: vec![GROUP] };
    if !geteuid().is_root() {
        return;
    }
    let begins = || *lock(&Users::new(of.clone()).unwrap().next);
    let all: BTreeSet<_> = (0..10).map(|_| begins()).collect();
    assert!(all.len() > 5, "{all:?}");
    assert!(all.iter().all(|number| of.numbers.contains(number)));
}

/// A process of the user, which ends when it is killed.
fn sleeper(user: &JobUser) -> std::process::Child {
    let mut command = Command::new("sleep");
    user.bind(command.arg("1000").stdin(Stdio::null()));
    command.spawn().unwrap()
}

#[test]
fn a_process_runs_as_its_user_and_ends_with_that_users_processes() {
    let Some(users) = users(10) else { return };
    let (user, other) = (claim(&users), claim(&users));
    let mut command = Command::new("grep");
    command.args(["-E", "^(Uid|Gid|Groups|CapPrm|CapAmb|NoNewPrivs):", "/proc/self/status"]);
    user.bind(&mut command);
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let said: Vec<Vec<&str>> =
        said.lines().map(|line| line.split_ascii_whitespace().skip(1).collect()).collect();
    let (number, group) = (user.number.as_raw().to_string(), GROUP.to_string());
    assert_eq!(said[0], vec![&*number; 4]);
    assert_eq!(said[1], vec![&*group; 4]);
    assert_eq!(said[2], [&*group]);
    let none = "0000000000000000";
    assert_eq!(said[3..], [vec![none], vec![none], vec!["1"]], "{said:?}");
    let (mut first, mut second) = (sleeper(&user), sleeper(&user));
    let mut stays = sleeper(&other);
    user.end_all().unwrap();
    assert!(!first.wait().unwrap().success() && !second.wait().unwrap().success());
    assert!(stays.try_wait().unwrap().is_none());
    // A user with a running process is not given to a job.
    let number = other.number.as_raw();
    drop(other);
    assert!(users.try_claim(number).unwrap().is_none());
    Users::end_those_of(&[]).unwrap();
    assert!(stays.try_wait().unwrap().is_none());
    let left = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(left.path(), Some(number), None).unwrap();
    Users::end_those_of(&[left.path().to_path_buf()]).unwrap();
    stays.wait().unwrap();
    users.try_claim(number).unwrap().unwrap();
}

#[test]
fn a_finished_file_belongs_to_the_worker() {
    let Some(users) = users(20) else { return };
    let (user, dir) = (claim(&users), tempfile::tempdir().unwrap());
    let staging = File::open(dir.path()).unwrap();
    let write = |name: &str, mode| {
        let path = dir.path().join(name);
        fs::write(&path, "a\t1\n").unwrap();
        user.own(File::open(&path).unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let looks = |path: &Path| {
        let found = fs::symlink_metadata(path).unwrap();
        (found.uid() == geteuid().as_raw(), found.mode() & 0o7777)
    };
    let part = write("part", 0o4766);
    user.give_up(&staging, OsStr::new("part")).unwrap();
    assert_eq!(looks(&part), (true, 0o744));
    let closed = write("closed", 0);
    user.give_up(&staging, OsStr::new("closed")).unwrap();
    assert_eq!(looks(&closed), (true, 0o640));
    // A file with several links is left to the coordinator, which refuses it.
    let twice = write("twice", 0o666);
    fs::hard_link(&twice, dir.path().join("again")).unwrap();
    user.give_up(&staging, OsStr::new("twice")).unwrap();
    assert_eq!(looks(&twice), (false, 0o666));
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
    user.give_up(&staging, OsStr::new("link")).unwrap_err();
    user.give_up(&staging, OsStr::new("gone")).unwrap_err();
}

#[test]
fn jobs_pass_through_a_folder_that_they_cannot_list() {
    let Some(users) = users(30) else { return };
    let user = claim(&users);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("worker");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let error = users.open_way(&folder).unwrap_err().to_string();
    let closed = dir.path().display().to_string();
    assert!(error.contains(&format!("through {closed} (")), "{error}");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    users.open_way(&folder).unwrap();
    let found = fs::metadata(&folder).unwrap();
    assert_eq!((found.gid(), found.mode() & 0o7777), (GROUP, 0o710));
    assert!(user.can_write(&folder).is_err());
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
    user.can_write(&folder).unwrap();
}
