//! A filter as machine code: its leaves are called through sites, which can be retargeted while it runs.
//!
//! ```text
//!   bytes > 1000 and not cached
//!
//!         push rbx; mov rbx, rdi      the record
//!         mov rdi, rbx; call leaf 0   a site
//!         test al, al; jz end
//!         mov rdi, rbx; call leaf 1   a site
//!         xor al, 1
//!   end:  pop rbx; ret
//! ```
#![allow(unsafe_code)]

use std::sync::{Mutex, PoisonError};

use hotcall::dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};
use hotcall::{Assembler, Code, Error, Guard, Marked, Site};

use crate::expr::{Expr, Leaf};
use crate::leaf::{LeafCode, Predicate};
use crate::publish::Publisher;
use crate::record::Record;
use crate::search::Search;

/// A compiled filter.
#[derive(Debug)]
pub struct Filter<'p> {
    publisher: &'p Publisher,
    code: Code,
    /// Leaf `i` is called at site `i`.
    sites: Vec<Site<Predicate>>,
    /// What the sites go to. Held over a retargeting, so that each site goes to the leaf that stands here.
    leaves: Mutex<Vec<LeafCode>>,
}

impl<'p> Filter<'p> {
    pub fn new(expr: &Expr, publisher: &'p Publisher) -> Result<Self, Error> {
        let leaves: Result<Vec<_>, _> =
            expr.leaves().into_iter().map(|leaf| LeafCode::new(leaf, publisher)).collect();
        let leaves = leaves?;
        // SAFETY: what is written is a `Predicate`, and only run as that.
        let (code, marks) = unsafe { publisher.publish(|ops| write(expr, &leaves, ops)) }?;
        let sites = marks.into_iter().map(|mark| code.site(mark)).collect::<Result<_, _>>()?;
        Ok(Self { publisher, code, sites, leaves: Mutex::new(leaves) })
    }

    /// Whether the record passes. Safe at any moment, on any thread.
    pub fn accepts(&self, record: &Record<'_>) -> bool {
        // SAFETY: the code is a `Predicate`, and the record is valid; the code looks at it during the call only.
        unsafe { self.code.call::<Predicate>((std::ptr::from_ref(record).cast(),)) }
    }

    /// Hoists the protection out of a loop. Every retargeting is still seen.
    pub fn bind<'g>(&'g self, guard: &'g Guard) -> impl Fn(&Record<'_>) -> bool + 'g {
        // SAFETY: the code is a `Predicate`; what is returned borrows the guard.
        let code = unsafe { self.code.get::<Predicate>(guard) };
        // SAFETY: the record is valid; the code looks at it during the call only.
        move |record| unsafe { code(std::ptr::from_ref(record).cast()) }
    }

    /// Puts another leaf in the place of the one at `index`: every record that is judged after this is judged by it.
    pub fn replace_leaf(&self, index: usize, leaf: &Leaf) -> Result<(), Error> {
        let new = LeafCode::new(leaf, self.publisher)?;
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: a leaf is called as one, and stays in `leaves` until the site has been retargeted again.
        unsafe { self.sites[index].retarget(new.predicate()) }?;
        // Another thread may be inside the old one: it is freed when none can be.
        leaves[index] = new;
        Ok(())
    }

    /// Makes a leaf search by other means. `false` where it searches nothing.
    pub fn search_by(&self, index: usize, search: Search) -> Result<bool, Error> {
        let leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(site) = &leaves[index].search else { return Ok(false) };
        // SAFETY: the leaf passes its field and its needle, which is UTF-8; the function is part of this program.
        unsafe { site.retarget(search) }?;
        Ok(true)
    }

    /// The length of its own code, in bytes, without that of the leaves.
    pub fn code_len(&self) -> usize {
        self.code.len()
    }
}

/// In: `rdi`, the record. Out: `al`.
fn write(expr: &Expr, leaves: &[LeafCode], ops: &mut Assembler) -> Result<Vec<Marked<Predicate>>, Error> {
    let mut writer = Writer { leaves: leaves.iter(), marks: Vec::new(), ops };
    dynasm!(writer.ops ; .arch x64 ; push rbx ; mov rbx, rdi);
    writer.expr(expr)?;
    dynasm!(writer.ops ; .arch x64 ; pop rbx ; ret);
    Ok(writer.marks)
}

struct Writer<'a> {
    /// Those that are not written yet.
    leaves: std::slice::Iter<'a, LeafCode>,
    marks: Vec<Marked<Predicate>>,
    ops: &'a mut Assembler,
}

impl Writer<'_> {
    /// In: `rbx`, the record. Out: `al`.
    fn expr(&mut self, expr: &Expr) -> Result<(), Error> {
        match expr {
            Expr::Leaf(_) => {
                let leaf = self.leaves.next().expect("there is code for each leaf");
                dynasm!(self.ops ; .arch x64 ; mov rdi, rbx);
                self.marks.push(self.ops.call(leaf.predicate())?);
                Ok(())
            }
            Expr::Not(inner) => {
                self.expr(inner)?;
                dynasm!(self.ops ; .arch x64 ; xor al, 1);
                Ok(())
            }
            Expr::And(all) => self.list(all, true),
            Expr::Or(any) => self.list(any, false),
        }
    }

    /// Goes on to the next one as long as the answer is `while_`.
    fn list(&mut self, list: &[Expr], while_: bool) -> Result<(), Error> {
        let end = self.ops.new_dynamic_label();
        for (number, one) in list.iter().enumerate() {
            if number != 0 {
                dynasm!(self.ops ; .arch x64 ; test al, al);
                if while_ {
                    dynasm!(self.ops ; .arch x64 ; jz =>end);
                } else {
                    dynasm!(self.ops ; .arch x64 ; jnz =>end);
                }
            }
            self.expr(one)?;
        }
        dynasm!(self.ops ; .arch x64 ; =>end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;
    use crate::record::made_up;
    use crate::search::{contains, contains_plainly};

    const EXPRESSIONS: [&str; 9] = [
        "cached",
        "bytes > 1000 and (path ~ \"api\" or status >= 500) and not cached",
        "not (bytes < 100 or bytes >= 3000) and method != \"GET\"",
        "status == 404 or status != 200 and length <= 90",
        "host ~ \"\" and path == \"/\"",
        "host ~ \"10.1\" or not not failed or line ~ \"HTTP\" and bytes > 18446744073709551615",
        "bytes < 4294967296 and bytes > 2147483647 or bytes <= 18446744073709551615",
        "(cached or failed) and (cached or not failed) or path ~ \"search?q=ra\"",
        "method ~ \"POST\" and method ~ \"GET\"",
    ];

    #[test]
    fn compiled_and_interpreted_agree() {
        let log = made_up(300);
        let records: Vec<_> = log.lines().chain(["", "not a log"]).map(Record::new).collect();
        let publisher = Publisher::new().unwrap();
        for source in EXPRESSIONS {
            let mut expr = parse(source).unwrap();
            let filter = Filter::new(&expr, &publisher).unwrap();
            let check = |expr: &Expr| {
                let guard = hotcall::pin();
                let bound = filter.bind(&guard);
                for record in &records {
                    let wanted = expr.accepts(record);
                    assert_eq!(
                        (filter.accepts(record), bound(record)),
                        (wanted, wanted),
                        "{expr}: {record:?}"
                    );
                }
            };
            check(&expr);
            for index in 0..expr.leaves().len() {
                for search in [contains_plainly as Search, contains] {
                    let searches = filter.search_by(index, search).unwrap();
                    assert_eq!(searches, expr.leaves()[index].to_string().contains('~'));
                    check(&expr);
                }
                let other = expr.leaves()[index].other();
                expr = expr.with_leaf(index, &other);
                filter.replace_leaf(index, &other).unwrap();
                check(&expr);
            }
        }
    }

    #[test]
    fn long_expressions_take_a_second_reservation() {
        let publisher = Publisher::new().unwrap();
        let source = vec!["cached"; 2_000].join(" or ");
        let filter = Filter::new(&parse(&source).unwrap(), &publisher).unwrap();
        let count = |of: &std::sync::atomic::AtomicU64| of.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!((count(&publisher.committed), count(&publisher.aborted)), (2_001, 1));
        assert_eq!(publisher.arena().stats().sites, 2_000);
        assert!(filter.accepts(&Record { cached: true, ..Record::default() }));
        assert!(!filter.accepts(&Record::default()));
    }
}
