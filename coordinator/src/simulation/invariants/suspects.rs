//! A task whose process has died runs alone until it has succeeded, and leaves out its poison; no
//! other task does.

use windrow_scheduler::Effect;

use super::{Ledger, Rule, check};

#[derive(Clone, Default)]
pub struct Suspects;

impl Rule for Suspects {
    fn on_effect(&mut self, effect: &Effect, ledger: &Ledger) -> Result<(), String> {
        let Effect::Assign { attempt, alone, skip, .. } = effect else { return Ok(()) };
        let suspect = ledger.suspects.contains(&attempt.task);
        check(*alone == suspect, || format!("{attempt}: suspect {suspect}, alone {alone}"))?;
        let poison = ledger.poison.get(&attempt.task).map_or(&[][..], |poison| poison);
        check(skip.iter().map(|bad| &bad.place).eq(poison), || {
            format!("{attempt} skips {skip:?}, and not {poison:?}")
        })
    }
}
