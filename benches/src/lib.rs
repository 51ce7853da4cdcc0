//! The tools behind hotcall's figures: what they share, and the two of them.
//!
//! * `seam`: where instruction fetch tears a displacement that is rewritten while it is executed.
//! * `compare`: what a patched call costs, beside everything that might be used instead.
//!
//! Both are programs (`src/bin`); this library holds their parts.

pub mod machine;
pub mod svg;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod code;
#[cfg(target_os = "linux")]
pub mod compare;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod seam;
