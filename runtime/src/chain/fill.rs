//! A line of a chain's program: the templates of its elements, one after the other, with their holes filled.

use std::collections::HashMap;
use std::sync::Arc;

use super::shape::Stop;
use super::template::{Line, Reach};
use crate::arch;
use crate::arena::ExecAddr;
use crate::installed::Installed;

/// Where code goes that is out of reach, by target.
pub(super) type Trampolines = HashMap<usize, usize>;

/// Copies the templates and fills their holes.
pub(super) fn emit_line(
    code: &mut [u8],
    base: ExecAddr,
    line: &Line,
    method: usize,
    list: &[Arc<Installed>],
    trampolines: &Trampolines,
) {
    let tail = code.len() - line.tail(list.len()).len();
    // `from` is where a displacement is: a branch's opcode would be just before it.
    let near = |from: usize, target: usize| {
        arch::displacement(base.add(from - 1), ExecAddr::new(target))
            .expect("what is out of reach was made far")
    };
    let reach = |from: usize, target: usize| near(from, trampolines.get(&target).copied().unwrap_or(target));
    let mut at = 0;
    for (number, element) in list.iter().enumerate() {
        let template = line.template(number, list.len());
        let bytes = &mut code[at..at + template.bytes.len()];
        bytes.copy_from_slice(&template.bytes);
        let mut put = |hole: usize, value: &[u8]| bytes[hole..hole + value.len()].copy_from_slice(value);
        let (this_at, this) = (template.this_at(line.reach), element.data().addr());
        match line.reach {
            Reach::Near => put(this_at, &near(at + this_at, this).to_le_bytes()),
            Reach::Far => put(this_at, &(this as u64).to_le_bytes()),
        }
        let call = template.call_at() + 1;
        put(call, &reach(at + call, element.table().method(method).address()).to_le_bytes());
        if let Some(hole) = template.exit_at {
            put(hole, &((tail - (at + hole + 4)) as i32).to_le_bytes());
        }
        if let (Some(hole), Stop::Ask(ask)) = (template.ask_at, line.stop) {
            put(hole, &reach(at + hole, ask.address()).to_le_bytes());
        }
        at += template.bytes.len();
    }
    code[tail..].copy_from_slice(line.tail(list.len()));
}
