//! `seam`: where instruction fetch tears a displacement that is rewritten while it is executed.
//!
//! # Problem
//!
//! A call is retargeted by storing another displacement over the old one while other threads execute it.
//! Manuals promise little about it. In 2018 the kernel's mailing list asked how much alignment is enough;
//! a cacheline was the answer of 2019, from short tests. Here the question is put to the processor at
//! hand, at each place a displacement can have in a cacheline.
//!
//! # Idea
//!
//! One thread calls in a loop. Another stores displacement A, then B, then A. The two differ in each of
//! their four bytes, and every mixture of them is the displacement of a function that counts itself
//! (`emit`): a torn fetch is counted, with the bytes that were new in it.
//!
//! # What makes it an experiment
//!
//! * `stores` writes the same displacements in two and three parts. That tears whatever the processor
//!   does; where it is seen, a torn fetch at that offset would have been seen.
//! * `seen` counts how often the executing thread saw the target change: a cell whose writer never met
//!   its reader shows nothing.
//! * Each sweep runs in a process of its own (`child`); a crash is a result.
//! * No torn fetch in n stores is not "never": the table says `< 3/n`, the 95 % bound.

pub mod cell;
pub mod child;
pub mod emit;
pub mod picture;
pub mod plan;
pub mod race;
pub mod strip;
pub mod summary;
pub mod whole;
