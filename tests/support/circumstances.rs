//! The same command under other circumstances: another user, or after a line of shell.

use std::process::Command;

/// The command after a line of shell.
pub fn after(shell: &str, command: &Command) -> Command {
    let mut other = Command::new("sh");
    other.args(["-c", &format!("{shell}; exec \"$@\""), "sh"]);
    with_environment(other.arg(command.get_program()).args(command.get_args()), command);
    other
}

/// The command as the child of another program.
pub fn below(above: &[&str], command: &Command) -> Command {
    let mut other = Command::new(above[0]);
    other.args(&above[1..]).arg(command.get_program()).args(command.get_args());
    with_environment(&mut other, command);
    other
}

fn with_environment(other: &mut Command, command: &Command) {
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
}

/// As another user, with the usual umask.
pub fn as_user(user: u32, groups: &str, command: &Command) -> Command {
    let (user, group) = (format!("--reuid={user}"), format!("--regid={user}"));
    let groups = match groups {
        "" => "--clear-groups".to_string(),
        groups => format!("--groups={groups}"),
    };
    let above = ["setpriv", &user, &group, &groups, "env", "-u", "HOME"];
    below(&above, &after("umask 022", command))
}
