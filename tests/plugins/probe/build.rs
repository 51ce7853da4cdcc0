//! `HOTCALL_PROBE=signature`, `layout` or `definition` makes the interface another one of the same name and version, as an
//! edit would.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=HOTCALL_PROBE");
    println!("cargo::rustc-check-cfg=cfg(probe, values(\"signature\", \"layout\", \"definition\"))");
    if let Ok(change) = std::env::var("HOTCALL_PROBE") {
        println!("cargo::rustc-cfg=probe=\"{change}\"");
    }
}
