//! In a user namespace (a container), one number stands for all users who have none there. Whoever
//! has it may be anybody, so nobody is let in by it.

use std::fs;

/// That number, unless the machine says otherwise.
const USUAL_NOBODY: u32 = 65_534;

/// The number that stands for all users of this machine whom the namespace that this process is in
/// does not number. `None` where all have numbers of their own.
pub fn nobodys_number() -> Option<u32> {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if maps_all(&map) {
        return None;
    }
    let number = fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
    Some(number.and_then(|number| number.trim().parse().ok()).unwrap_or(USUAL_NOBODY))
}

/// Whether all users have a number, by a list of first numbers, inside and outside, and lengths.
fn maps_all(map: &str) -> bool {
    let lengths =
        map.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok());
    // A kernel without user namespaces has no such list.
    map.is_empty() || lengths.sum::<u64>() >= u64::from(u32::MAX)
}

/// What to do for one who is refused by number: what can be done `otherwise`, unless the number is
/// nobody's.
pub(super) fn advice(user: u32, otherwise: String) -> String {
    if nobodys_number() != Some(user) {
        return otherwise;
    }
    format!(
        "{user} stands for all users whom this user namespace (container) does not number, so nobody can be let in by it: \
         run both in one namespace, as a user that is numbered in it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_of_few_does_not_number_all() {
        for all in ["         0          0 4294967295\n", "0 0 1000\n1000 1000 4294966295\n", ""] {
            assert!(maps_all(all), "{all}");
        }
        for some in ["65534 4010 1\n", "0 100000 65536\n", "0 1000 1\n1 100000 65536\n"] {
            assert!(!maps_all(some), "{some}");
        }
    }
}
