//! Numbers for the machines of workers, which stand for their long names in messages. Each
//! coordinator assigns new ones, and tells each worker when its session begins.

use std::collections::HashMap;

/// The machines on which workers have sessions.
#[derive(Default)]
pub(super) struct Hosts {
    hosts: HashMap<String, Host>,
    last: u32,
}

struct Host {
    number: u32,
    sessions: u32,
}

impl Hosts {
    /// Notes the beginning of a session on a machine, and returns the machine's number: 0 if it has
    /// no name.
    pub(super) fn add(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let last = &mut self.last;
        let host = self.hosts.entry(name.to_string()).or_insert_with(|| {
            *last = last.wrapping_add(1).max(1);
            Host { number: *last, sessions: 0 }
        });
        host.sessions += 1;
        host.number
    }

    /// Notes the end of a session. The number of a machine without sessions is not reused.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some(host) = self.hosts.get_mut(name) {
            host.sessions -= 1;
            if host.sessions == 0 {
                self.hosts.remove(name);
            }
        }
    }

    /// The number of a machine with a session; 0 otherwise.
    pub(super) fn number(&self, name: &str) -> u32 {
        self.hosts.get(name).map_or(0, |host| host.number)
    }

    /// Whether several workers have sessions on this machine.
    pub(super) fn has_several(&self, name: &str) -> bool {
        self.hosts.get(name).is_some_and(|host| host.sessions > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_keeps_its_number_while_it_has_sessions() {
        let mut hosts = Hosts::default();
        assert_eq!((hosts.add("a"), hosts.add("b"), hosts.add("a"), hosts.add("")), (1, 2, 1, 0));
        assert!(hosts.has_several("a") && !hosts.has_several("b") && !hosts.has_several(""));
        hosts.remove("a");
        assert!(!hosts.has_several("a"));
        assert_eq!((hosts.number("a"), hosts.number("c")), (1, 0));
        hosts.remove("a");
        assert_eq!(hosts.number("a"), 0);
        assert_eq!(
            hosts.add("a"),
            3,
            "a worker that remembers the old number must not take it for another machine"
        );
    }
}
