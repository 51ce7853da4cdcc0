//! The orderings of the runtime, explored: every interleaving, and every value that each load may see.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p hotcall --release --test loom
//! ```
//!
//! The record of the per-call section, and the marks by which instances are handed over, and the count of their
//! leases, are the very files that the
//! runtime is built from. What a writer does is
//! stated step by step, beside the names that `record.rs` (W1 to W5) and `slot/patched` give the steps. Each model
//! has broken twins, with one step left out or misplaced, which loom must reject: they show that the model
//! could see the mistake.
//!
//! Loom knows no `membarrier`. It is modelled by what it does: a sequentially consistent fence on the writer's
//! side with one on the caller's (`primitive::light_barrier`), and, where fetched code matters, by a core
//! that forgets what it has fetched ([`machine::Core`]).
//!
//! Without `--cfg loom` this file is empty.
#![cfg(loom)]

#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../src/handover.rs"]
mod handover;
#[path = "../src/leases.rs"]
mod leases;
#[path = "../src/primitive.rs"]
mod primitive;
#[allow(dead_code, reason = "a model uses part of it")]
#[path = "../src/quiesce/record.rs"]
mod record;

#[path = "loom/machine.rs"]
mod machine;

#[path = "loom/batch.rs"]
mod batch;
#[path = "loom/handover.rs"]
mod handing_over;
#[path = "loom/in_place.rs"]
mod in_place;
#[path = "loom/keys.rs"]
mod keys;
#[path = "loom/leases.rs"]
mod leasing;
#[path = "loom/quiet.rs"]
mod quiet;
#[path = "loom/reuse.rs"]
mod reuse;
#[path = "loom/section.rs"]
mod section;
#[path = "loom/settle.rs"]
mod settle;
#[path = "loom/unbarriered.rs"]
mod unbarriered;
