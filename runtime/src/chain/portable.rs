//! Chains without emitted code: every method is a loop over the links.
//!
//! What runs on every platform but Linux on x86-64 with glibc, and the reference that emitted chains are tested
//! against. Mirrors `emitted`, name for name.

use std::sync::Arc;

use super::inspect::{Counts, EmittedChain};
use super::rule::MethodRule;
use crate::installed::Installed;
use crate::interface::Code;

/// What calls run: nothing of its own, in this backend.
#[derive(Debug)]
pub(super) struct Program;

/// What a retargeting has made unused.
pub(super) type Retarget = ();

/// Nothing is emitted.
pub(crate) fn counts() -> Counts {
    Counts::default()
}

/// Nothing is refused.
pub(super) fn tell() {}

impl Program {
    /// Nothing has to be found out.
    pub(super) fn prepare(_elements: usize) {}

    /// The entry points for `list`.
    pub(super) fn new(
        rules: &'static [MethodRule],
        list: &[Arc<Installed>],
        _before: Option<&Self>,
    ) -> (Self, Vec<Code>) {
        let code = |rule: &MethodRule| if list.is_empty() { rule.empty } else { rule.looped };
        (Self, rules.iter().map(code).collect())
    }

    pub(super) fn needs_links(&self) -> bool {
        true
    }

    pub(super) fn retarget(&mut self, _: &[MethodRule], _: usize, _: &Installed) -> Option<Retarget> {
        None
    }

    pub(super) fn inspect(&self, _: &[MethodRule], _: &[Arc<Installed>]) -> Vec<EmittedChain> {
        Vec::new()
    }
}
