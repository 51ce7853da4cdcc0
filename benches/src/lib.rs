//! The tools behind hotcall's figures: what they share, and the three of them.
//!
//! * `seam`: where instruction fetch tears a displacement that is rewritten while it is executed.
//! * `compare`: what a patched call costs, beside everything that might be used instead.
//! * `report`: the pages that are made of their figures.
//!
//! All are programs (`src/bin`); this library holds their parts.

pub mod machine;
pub mod svg;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod code;
#[cfg(target_os = "linux")]
pub mod compare;
#[cfg(target_os = "linux")]
pub mod report;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod seam;
