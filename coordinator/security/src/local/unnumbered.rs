//! In a user namespace (a container), one number stands for all users without a number there. It
//! may be anybody's, so it admits nobody.

use std::fs;

/// The default of that number.
const USUAL_NOBODY: u32 = 65_534;

/// The number of all users who have none in this process's namespace; `None` if all have their own.
pub fn nobodys_number() -> Option<u32> {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if maps_all(&map) {
        return None;
    }
    let number = fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
    Some(number.and_then(|number| number.trim().parse().ok()).unwrap_or(USUAL_NOBODY))
}

/// Whether all users have a number, by the lines of `uid_map`: first number inside, first number
/// outside, length.
fn maps_all(map: &str) -> bool {
    let lengths =
        map.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok());
    // A kernel without user namespaces has no `uid_map`.
    map.is_empty() || lengths.sum::<u64>() >= u64::from(u32::MAX)
}

/// The advice to a user who is refused by number: `otherwise`, unless the number is that of many
/// users.
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
    fn a_map_of_few_users_leaves_some_unnumbered() {
        for all in ["         0          0 4294967295\n", "0 0 1000\n1000 1000 4294966295\n", ""] {
            assert!(maps_all(all), "{all}");
        }
        for some in ["65534 4010 1\n", "0 100000 65536\n", "0 1000 1\n1 100000 65536\n"] {
            assert!(!maps_all(some), "{some}");
        }
    }
}
