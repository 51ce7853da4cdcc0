//! Marks and sites belong to one piece of code: whatever else they are shown is refused, and is missed where it is not.
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(hotcall_portable)))]

use std::process::Command;

use hotcall::dynasmrt::VecAssembler;
use hotcall::{Arena, Assembler, Code, Error, Marked, MemoryError, Reservation, Signature};
use hotcall_tests::negative;

type Plain = extern "C" fn(u64) -> u64;
type Boxed = extern "C" fn(Box<u64>) -> u64;

extern "C" fn plain(x: u64) -> u64 {
    x
}
extern "C" fn twice(x: u64) -> u64 {
    x * 2
}
extern "C" fn unbox(x: Box<u64>) -> u64 {
    *x
}

/// The code is one marked jump to `target`.
fn jump<F: Signature>(reservation: &Reservation, target: F) -> (Assembler, Marked<F>) {
    let mut ops = reservation.assembler();
    let marked = ops.jump::<F>(target).unwrap();
    (ops, marked)
}

fn commit(reservation: Reservation, ops: Assembler) -> Result<Code, Error> {
    // SAFETY: nobody runs the code.
    unsafe { reservation.commit(ops) }
}

fn is_foreign<T>(answer: Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Memory(MemoryError::ForeignMark { .. })))
}

fn is_refused<T>(answer: Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Memory(MemoryError::Assembly { .. })))
}

/// The mark of an assembler that is never committed, for the code of another at the same address.
fn a_mark_of_one_is_refused_by_another() -> bool {
    let arena = Arena::anywhere().unwrap();
    let reservation = arena.reserve(64).unwrap();
    let (first, marked) = jump::<Plain>(&reservation, plain);
    let (ops, own) = jump::<Boxed>(&reservation, unbox);
    drop(first);
    let code = commit(reservation, ops).unwrap();
    assert!(code.site(own).unwrap().target()(Box::new(3)) == 3);
    is_foreign(code.site(marked))
}

/// The code in an assembler is exchanged for other code.
fn a_branch_that_is_gone_is_refused() -> bool {
    let arena = Arena::anywhere().unwrap();
    let reservation = arena.reserve(64).unwrap();
    let (mut ops, _) = jump::<Plain>(&reservation, plain);
    *ops = VecAssembler::new(reservation.address().addr());
    ops.extend([0xc3; 16]);
    is_refused(commit(reservation, ops))
}

#[test]
fn each_refusal_is_missed_without_it() {
    match negative::sabotaged() {
        Some("any-mark") => {
            std::process::exit(if a_mark_of_one_is_refused_by_another() { 0 } else { negative::CAUGHT })
        }
        Some(_) => std::process::exit(if a_branch_that_is_gone_is_refused() { 0 } else { negative::CAUGHT }),
        None => assert!(a_mark_of_one_is_refused_by_another() && a_branch_that_is_gone_is_refused()),
    }
    for sabotage in ["any-mark", "any-branch"] {
        let again = || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "each_refusal_is_missed_without_it", "--nocapture"]);
            command
        };
        println!("{sabotage}: {}", negative::is_noticed(again, sabotage).unwrap());
    }
}

#[test]
fn a_mark_is_for_the_code_of_its_assembler_alone() {
    let (arena, other) = (Arena::anywhere().unwrap(), Arena::anywhere().unwrap());
    let reservations = [&arena, &arena, &other].map(|arena| arena.reserve(64).unwrap());
    let mut made = Vec::new();
    for reservation in reservations {
        let (ops, marked) = jump::<Plain>(&reservation, plain);
        made.push((commit(reservation, ops).unwrap(), marked));
    }
    for (number, (code, _)) in made.iter().enumerate() {
        for (of, (_, marked)) in made.iter().enumerate() {
            assert_eq!(
                is_foreign(code.site(*marked)),
                of != number,
                "the mark of {of} for the code of {number}"
            );
        }
    }
    let refused = made[0].0.site(made[1].1).unwrap_err().to_string();
    assert!(refused.contains("ask the code that was committed of the assembler"), "{refused}");

    // Code that lies where other code lay: its address proves nothing.
    let (code, marked) = made.swap_remove(0);
    let address = code.address();
    drop((code, made));
    while arena.stats().bytes_waiting != 0 || arena.stats().blocks != 0 {
        std::thread::yield_now();
    }
    let mut again = None;
    hotcall_tests::eventually("memory is used again", || {
        let reservations: Vec<_> = (0..64).map(|_| arena.reserve(64).unwrap()).collect();
        again = reservations.into_iter().find(|one| one.address() == address);
        again.is_some()
    });
    let again = again.unwrap();
    let (ops, own) = jump::<Boxed>(&again, unbox);
    let code = commit(again, ops).unwrap();
    assert!(is_foreign(code.site(marked)));
    let site = code.site(own).unwrap();
    // The site keeps the code, whoever drops it.
    drop(code);
    assert_eq!(site.target()(Box::new(4)), 4);
}

/// Assemblers that change places take their marks along; and each is for one reservation.
#[test]
fn assemblers_are_exchanged_whole() {
    let arena = Arena::anywhere().unwrap();
    let (left, right) = (arena.reserve(64).unwrap(), arena.reserve(64).unwrap());
    let (mut of_left, plainly) = jump::<Plain>(&left, plain);
    let (mut of_right, boxed) = jump::<Boxed>(&right, unbox);
    std::mem::swap(&mut of_left, &mut of_right);
    let code = commit(left, of_right).unwrap();
    assert!(is_foreign(code.site(boxed)));
    assert_eq!(code.site(plainly).unwrap().target()(5), 5);
    let code = commit(right, of_left).unwrap();
    assert!(is_foreign(code.site(plainly)));
    assert_eq!(code.site(boxed).unwrap().target()(Box::new(6)), 6);

    // Of the same reservation, two that each have a mark.
    let reservation = arena.reserve(64).unwrap();
    let (mut first, one) = jump::<Plain>(&reservation, plain);
    let (second, two) = jump::<Plain>(&reservation, twice);
    first = std::mem::replace(&mut first, second);
    let code = commit(reservation, first).unwrap();
    assert!(is_foreign(code.site(two)));
    assert_eq!(code.site(one).unwrap().target()(7), 7);
}

/// An assembler for a reservation that was aborted, when its address is another's: of the same arena, or of another.
#[test]
fn an_assembler_is_for_one_reservation() {
    let arena = Arena::anywhere().unwrap();
    let reservation = arena.reserve(64).unwrap();
    let address = reservation.address();
    let (stale, _) = jump::<Plain>(&reservation, plain);
    reservation.abort();
    while arena.stats().bytes_waiting != 0 {
        std::thread::yield_now();
    }
    let all: Vec<_> = (0..64).map(|_| arena.reserve(64).unwrap()).collect();
    let again = all.into_iter().find(|one| one.address() == address).expect("memory is used again");
    assert!(is_refused(commit(again, stale)));
}

/// What the inner assembler may be made to do, and the mark be there no more.
#[test]
fn a_mark_needs_its_branch() {
    let arena = Arena::anywhere().unwrap();
    // Exchanged for one that is shorter than the mark.
    let reservation = arena.reserve(64).unwrap();
    let (mut ops, _) = jump::<Plain>(&reservation, plain);
    *ops = VecAssembler::new(reservation.address().addr());
    assert!(is_refused(commit(reservation, ops)));

    // The inner ones of two assemblers change places: what was marked in one is in the other.
    let (left, right) = (arena.reserve(64).unwrap(), arena.reserve(64).unwrap());
    let (mut of_left, _) = jump::<Plain>(&left, plain);
    let (mut of_right, _) = jump::<Boxed>(&right, unbox);
    std::mem::swap(&mut *of_left, &mut *of_right);
    assert!(is_refused(commit(left, of_left)) && is_refused(commit(right, of_right)));

    // Begun again, with a mark in the same place: two marks would share one branch.
    let reservation = arena.reserve(64).unwrap();
    let (mut ops, _) = jump::<Plain>(&reservation, plain);
    *ops = VecAssembler::new(reservation.address().addr());
    let _second = ops.jump::<Plain>(plain).unwrap();
    assert!(is_refused(commit(reservation, ops)));

    // Exchanged, and put back: all is there.
    let reservation = arena.reserve(64).unwrap();
    let (mut ops, marked) = jump::<Plain>(&reservation, plain);
    let kept = std::mem::replace(&mut *ops, VecAssembler::new(0));
    *ops = kept;
    let code = commit(reservation, ops).unwrap();
    assert_eq!(code.site(marked).unwrap().target()(8), 8);
    // Nothing that was refused is left behind.
    drop(code);
    while arena.stats().blocks != 0 || arena.stats().sites != 0 {
        std::thread::yield_now();
    }
}
