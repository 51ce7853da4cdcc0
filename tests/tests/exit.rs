//! Nothing is lost at the end: what was replaced is dropped before the process is gone, or a call waits for it.
//!
//! Each scene is a process of its own: this very test, told which by a variable.
#![allow(missing_docs)]
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use hotcall::{DrainError, dispatch, drain, slot};
use hotcall_tests::forking::fork;

#[dispatch]
pub trait Journal: Send + Sync {
    fn put(&self, line: &str);
}
struct Null;
impl Journal for Null {
    fn put(&self, _line: &str) {}
}
struct Buffered(Mutex<BufWriter<File>>);
impl Buffered {
    fn append(path: &Path) -> Self {
        let file = File::options().create(true).append(true).open(path).unwrap();
        Self(Mutex::new(BufWriter::new(file)))
    }
}
impl Journal for Buffered {
    fn put(&self, line: &str) {
        self.0.lock().unwrap().write_all(line.as_bytes()).unwrap();
    }
}
struct Calls<F: Fn() + Send + Sync>(F);
impl<F: Fn() + Send + Sync> Journal for Calls<F> {
    fn put(&self, _line: &str) {
        (self.0)();
    }
}
#[slot]
static JOURNAL: dyn Journal = Null;
#[slot]
static OTHER: dyn Journal = Null;

const SCENE: &str = "HOTCALL_EXIT_SCENE";
const FILE: &str = "HOTCALL_EXIT_FILE";
const ORDER: &str = "order 66\n";

fn file() -> PathBuf {
    std::env::var_os(FILE).unwrap().into()
}

/// Leaves a line in the buffer of an instance that has been replaced.
fn leave_a_line() {
    drop(JOURNAL.replace(Buffered::append(&file())).unwrap());
    JOURNAL.put(ORDER);
    drop(JOURNAL.restore().unwrap());
}

extern "C" fn leaves_a_line() {
    leave_a_line();
}

extern "C" fn leaves_a_line_and_waits() {
    leave_a_line();
    drain(Duration::from_secs(60)).unwrap();
}

#[allow(unsafe_code)]
fn at_exit(function: extern "C" fn()) {
    // SAFETY: a function of this program.
    assert_eq!(unsafe { libc::atexit(function) }, 0);
}

/// Ends the process without any of what is done at its end.
#[allow(unsafe_code)]
fn leave_at_once() -> ! {
    // SAFETY: none is needed.
    unsafe { libc::_exit(0) }
}

fn play(scene: &str) {
    match scene {
        "returns" => leave_a_line(),
        "drains" => {
            leave_a_line();
            drain(Duration::from_secs(60)).unwrap();
            leave_at_once();
        }
        "waits_in_vain" => {
            let (told, tells) = mpsc::channel();
            std::thread::spawn(move || {
                let _guard = hotcall::pin();
                told.send(()).unwrap();
                std::thread::park();
                unreachable!("nobody unparks it");
            });
            tells.recv().unwrap();
            leave_a_line();
            // The journal before it, too, which is the slot's default.
            assert_eq!(drain(Duration::from_millis(1)), Err(DrainError::TimedOut { left: 2 }));
        }
        "would_deadlock" => {
            leave_a_line();
            let guard = hotcall::pin();
            drop(OTHER.replace(Null).unwrap());
            assert_eq!(drain(Duration::from_secs(60)), Err(DrainError::WouldDeadlock));
            drop(guard);
            assert_eq!(drain(Duration::from_secs(60)), Ok(()));
            assert_eq!(drain(Duration::ZERO), Ok(()), "nothing is left");
        }
        "inside" => {
            drop(OTHER.replace(Calls(|| std::process::exit(0))).unwrap());
            leave_a_line();
            OTHER.put("");
        }
        "in_child" => {
            // It cannot be dropped in the parent; in the child there is no such guard.
            let ((told, tells), (end, ends)) = (mpsc::channel(), mpsc::channel());
            let holds = std::thread::spawn(move || {
                let _guard = hotcall::pin();
                told.send(()).unwrap();
                ends.recv().unwrap();
            });
            tells.recv().unwrap();
            leave_a_line();
            fork(|| std::process::exit(0)).wait().unwrap();
            assert_eq!(
                std::fs::read_to_string(file()).unwrap(),
                "",
                "the child has done what its parent will do"
            );
            end.send(()).unwrap();
            holds.join().unwrap();
        }
        "before_and_after" => {
            at_exit(leaves_a_line_and_waits);
            drop(OTHER.replace(Null).unwrap());
            at_exit(leaves_a_line);
        }
        "storm" => {
            for _ in 0..3 {
                std::thread::spawn(|| {
                    loop {
                        drop(OTHER.replace(Null).unwrap());
                        OTHER.put("");
                        drop(OTHER.replace(Calls(|| ())).unwrap());
                    }
                });
            }
            leave_a_line();
        }
        other => unreachable!("{other}"),
    }
    std::process::exit(0);
}

fn played(scene: &str) -> (ExitStatus, String) {
    let path = std::env::temp_dir().join(format!("hotcall-exit-{}-{scene}", std::process::id()));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "nothing_is_lost_at_the_end", "--nocapture"]);
    let output = command.env(SCENE, scene).env(FILE, &path).output().unwrap();
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(&path);
    if !output.status.success() {
        println!("{}", String::from_utf8_lossy(&output.stderr));
    }
    (output.status, text)
}

#[test]
fn nothing_is_lost_at_the_end() {
    if let Ok(scene) = std::env::var(SCENE) {
        play(&scene);
    }
    for (scene, lines) in
        [("returns", 1), ("drains", 1), ("would_deadlock", 1), ("in_child", 1), ("before_and_after", 2)]
    {
        let (status, text) = played(scene);
        assert!(status.success() && text == ORDER.repeat(lines), "{scene}: {status}, {text:?}");
    }
    // What cannot be waited for holds the end up for a moment at most.
    for scene in ["waits_in_vain", "inside"] {
        let (status, text) = played(scene);
        assert!(status.success() && text.is_empty(), "{scene}: {status}, {text:?}");
    }
    for _ in 0..10 {
        let (status, _) = played("storm");
        assert!(status.success(), "{status}");
    }
}
