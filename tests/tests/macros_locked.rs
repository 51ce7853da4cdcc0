//! Slots of traits with `&mut self`: used through their lock, and swapped by whoever likes, meanwhile.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::io::Read as _;
use std::panic::catch_unwind;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use hotcall::{Error, Instance, LockError, Patched, WaitError, dispatch, slot};
use hotcall_tests::negative::{self, sabotaged};

/// A delay line, as an audio host has them.
#[dispatch]
pub trait Line: Send + Sync {
    fn process(&mut self, block: &mut [f32]);
    fn name(&self) -> &str;
    fn last<'a>(&'a self, to: &mut Vec<&'a f32>);
    fn blocks(&self) -> usize;
    fn finish(self: Box<Self>) -> usize;
}
#[derive(Debug, PartialEq)]
struct Delay {
    name: String,
    held: f32,
    blocks: usize,
}
impl Delay {
    const fn silent() -> Self {
        Self { name: String::new(), held: 0.0, blocks: 0 }
    }
    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::silent() }
    }
}
impl Line for Delay {
    fn process(&mut self, block: &mut [f32]) {
        self.blocks += 1;
        for sample in block {
            std::mem::swap(sample, &mut self.held);
        }
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn last<'a>(&'a self, to: &mut Vec<&'a f32>) {
        to.push(&self.held);
    }
    fn blocks(&self) -> usize {
        self.blocks
    }
    fn finish(self: Box<Self>) -> usize {
        self.blocks
    }
}

#[test]
fn a_block_under_one_lock() {
    #[slot]
    static LINE: dyn Line = Delay::silent();
    let mut block = [1.0, 2.0, 3.0];
    let mut line = LINE.lock();
    line.process(&mut block);
    line.process(&mut block);
    assert_eq!(block, [3.0, 0.0, 1.0]);
    let mut last = Vec::new();
    line.last(&mut last);
    assert_eq!((last[0], line.name(), line.blocks()), (&2.0, "", 2));
    drop(line);
    let reader = LINE.read();
    assert_eq!((reader.blocks(), LINE.read().name()), (2, ""));
    drop(reader);

    // The default comes back as it was written; and what was there belongs to whoever waited for it.
    let mut old = LINE.restore().unwrap().wait().unwrap();
    assert_eq!(LINE.lock().blocks(), 0);
    old.process(&mut block);
    assert_eq!((old.blocks(), LINE.lock().blocks()), (3, 0));
    drop(LINE.replace(old).unwrap());
    assert_eq!(LINE.lock().blocks(), 3);
    let boxed = LINE.restore().unwrap().wait().unwrap();
    // It is an instance in an instance's place: the default, a static, has no box.
    let boxed = boxed.into_box().err().unwrap();
    assert_eq!(boxed.blocks(), 3);
}

#[test]
fn one_at_a_time() {
    #[slot]
    static LINE: dyn Line = Delay::silent();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                for _ in 0..2_000 {
                    LINE.lock().process(&mut []);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(LINE.read().blocks(), 8_000);
}

#[test]
fn a_thread_that_locks_twice_is_told() {
    #[slot]
    static LINE: dyn Line = Delay::silent();
    let line = LINE.lock();
    assert_eq!(LINE.try_lock().unwrap_err(), LockError::Reentrant);
    assert_eq!(LINE.try_read().unwrap_err(), LockError::Reentrant);
    let said = catch_unwind(|| drop(LINE.lock())).unwrap_err();
    assert!(said.downcast::<String>().unwrap().contains("this thread has locked the slot already"));
    let make = |_: &hotcall::Held<'_, dyn Line>| Delay::silent();
    assert!(matches!(LINE.replace_with(make).unwrap_err().error(), Error::Reentrant));
    drop(line);
    let reader = LINE.read();
    assert_eq!(LINE.try_lock().unwrap_err(), LockError::Reentrant);
    let again = LINE.read();
    drop(reader);
    assert_eq!(std::thread::spawn(|| LINE.try_lock().map(drop)).join().unwrap(), Err(LockError::Locked));
    drop(again);
    let make = |old: &hotcall::Held<'_, dyn Line>| Delay { blocks: old.blocks() + 7, ..Delay::silent() };
    drop(LINE.replace_with(make).unwrap());
    assert_eq!(LINE.lock().blocks(), 7);
}

struct Panics;
impl Line for Panics {
    fn process(&mut self, _: &mut [f32]) {
        panic!("inside");
    }
    fn name(&self) -> &str {
        "panics"
    }
    fn last<'a>(&'a self, _: &mut Vec<&'a f32>) {}
    fn blocks(&self) -> usize {
        0
    }
    fn finish(self: Box<Self>) -> usize {
        0
    }
}

#[test]
fn a_panic_gives_the_lock_back() {
    #[slot]
    static LINE: dyn Line = Panics;
    assert!(catch_unwind(|| LINE.lock().process(&mut [])).is_err());
    assert_eq!(LINE.lock().name(), "panics");
    drop(LINE.replace(Delay::named("calm")).unwrap());
    assert_eq!(std::thread::spawn(|| LINE.lock().name().to_owned()).join().unwrap(), "calm");
}

/// Run again with mechanisms switched off: see `what_is_switched_off_is_noticed`.
#[test]
fn swapped_while_it_is_locked() {
    sabotaged();
    #[slot]
    static LINE: dyn Line = Delay::silent();
    drop(LINE.replace(Delay::named("first")).unwrap());
    let mut line = LINE.lock();
    let name = line.name();
    let (retired, alive) = std::thread::spawn(|| {
        // Replacing does not wait for the lock.
        let retired = LINE.replace(Delay::named("second")).unwrap();
        let WaitError::TimedOut(retired) = retired.wait_timeout(Duration::from_millis(1)).unwrap_err() else {
            panic!("this thread holds nothing");
        };
        (retired, LINE.try_lock().map(drop))
    })
    .join()
    .unwrap();
    // What was lent is still there, and the slot still locked.
    assert_eq!((name, alive), ("first", Err(LockError::Locked)));
    assert!(!retired.is_drained());
    // The next call, under the same lock, runs the new one.
    line.process(&mut []);
    assert_eq!((line.name(), line.blocks()), ("second", 1));
    let WaitError::WouldDeadlock(retired) = retired.wait().unwrap_err() else { panic!() };
    drop(line);
    let first = retired.wait().unwrap();
    assert_eq!((first.name(), first.blocks()), ("first", 0));
    assert_eq!(first.finish_it(), 0);
}

trait Finish {
    fn finish_it(self) -> usize;
}
impl Finish for Instance<dyn Line> {
    fn finish_it(self) -> usize {
        Box::new(self).finish()
    }
}

struct Meets {
    inside: Sender<()>,
    leave: Receiver<()>,
    count: usize,
}
#[dispatch]
trait Meeting: Send {
    fn meet(&mut self) -> usize;
}
struct Nobody;
impl Meeting for Nobody {
    fn meet(&mut self) -> usize {
        0
    }
}
impl Meeting for Meets {
    fn meet(&mut self) -> usize {
        self.inside.send(()).unwrap();
        self.leave.recv().unwrap();
        self.count += 1;
        self.count
    }
}

/// Run again with mechanisms switched off: see `what_is_switched_off_is_noticed`.
#[test]
fn nobody_else_is_inside() {
    sabotaged();
    #[slot]
    static MEETING: dyn Meeting = Nobody;
    let ((inside, entered), (leave, left)) = (channel(), channel());
    // It need not be `Sync`: one at a time uses it.
    drop(MEETING.replace_instance(Instance::new(Meets { inside, leave: left, count: 0 })).unwrap());
    let thread = std::thread::spawn(|| MEETING.lock().meet());
    entered.recv().unwrap();
    // The other thread stands inside, until it is told to leave.
    let mine = MEETING.try_lock().map(drop);
    leave.send(()).unwrap();
    assert_eq!((mine, thread.join().unwrap()), (Err(LockError::Locked), 1));
    assert!(MEETING.try_lock().is_ok());
}

#[test]
fn what_is_switched_off_is_noticed() {
    let again = |test: &'static str| {
        move || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", test]);
            command
        }
    };
    for (mechanism, test) in
        [("open-lock", "nobody_else_is_inside"), ("lock-without-guard", "swapped_while_it_is_locked")]
    {
        println!("{mechanism}: {}", negative::is_noticed(again(test), mechanism).unwrap());
    }
}

#[test]
fn readers_share() {
    #[slot]
    static LINE: dyn Line = Reads;
    static BOTH: Barrier = Barrier::new(2);
    struct Reads;
    impl Line for Reads {
        fn process(&mut self, _: &mut [f32]) {}
        fn name(&self) -> &str {
            // Both are inside, or neither gets out.
            BOTH.wait();
            "both"
        }
        fn last<'a>(&'a self, _: &mut Vec<&'a f32>) {}
        fn blocks(&self) -> usize {
            0
        }
        fn finish(self: Box<Self>) -> usize {
            0
        }
    }
    let other = std::thread::spawn(|| LINE.read().name().to_owned());
    assert_eq!(LINE.read().name(), "both");
    assert_eq!(other.join().unwrap(), "both");
}

/// Supertraits with `&mut self`.
#[dispatch]
pub trait Source: Iterator<Item = f32> + std::io::Read + std::io::Seek + Send {
    fn channels(&self) -> u16;
}
struct Ramp(std::io::Cursor<Vec<u8>>);
impl Iterator for Ramp {
    type Item = f32;
    fn next(&mut self) -> Option<f32> {
        let mut byte = [0];
        (self.0.read(&mut byte).ok()? == 1).then(|| f32::from(byte[0]))
    }
}
impl std::io::Read for Ramp {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}
impl std::io::Seek for Ramp {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}
impl Source for Ramp {
    fn channels(&self) -> u16 {
        2
    }
}
impl Ramp {
    const fn empty() -> Self {
        Self(std::io::Cursor::new(Vec::new()))
    }
    fn of(bytes: &[u8]) -> Self {
        Self(std::io::Cursor::new(bytes.to_vec()))
    }
}

#[test]
fn supertraits_through_the_lock_and_the_handle() {
    use std::io::{Seek, SeekFrom};
    #[slot]
    static SOURCE: dyn Source = Ramp::empty();
    fn sum(source: &mut (impl Iterator<Item = f32> + Seek)) -> f32 {
        source.seek(SeekFrom::Start(1)).unwrap();
        source.take(2).sum()
    }
    assert_eq!(SOURCE.lock().next(), None);
    drop(SOURCE.replace(Ramp::of(&[1, 2, 3, 4])).unwrap());
    let mut source = SOURCE.lock();
    assert_eq!((source.next(), source.channels(), sum(&mut source)), (Some(1.0), 2, 5.0));
    let mut text = Vec::new();
    source.read_to_end(&mut text).unwrap();
    assert_eq!((text, source.next()), (vec![4], None));
    let mut handle: Patched<dyn Source> = Patched::new(Ramp::of(&[5, 6, 7]));
    assert_eq!((handle.channels(), handle.next(), sum(&mut handle)), (2, Some(5.0), 13.0));
    let object: &mut dyn Source = &mut handle;
    assert_eq!(object.next(), None);
    let mut instance: Instance<dyn Source> = Instance::new(Ramp::of(&[8, 9]));
    assert_eq!((instance.next(), sum(&mut instance)), (Some(8.0), 9.0));
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn handles_lend_under_a_guard() {
    struct Counted(String);
    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }
    impl Line for Counted {
        fn process(&mut self, block: &mut [f32]) {
            self.0.push_str(&block.len().to_string());
        }
        fn name(&self) -> &str {
            &self.0
        }
        fn last<'a>(&'a self, _: &mut Vec<&'a f32>) {}
        fn blocks(&self) -> usize {
            self.0.len()
        }
        fn finish(self: Box<Self>) -> usize {
            self.0.len()
        }
    }
    let mut handle: Patched<dyn Line> = Patched::new(Counted("first".into()));
    handle.process(&mut [0.0; 3]);
    assert_eq!(handle.blocks(), 6);
    let remote = handle.remote();
    let guard = hotcall::pin();
    let line = handle.get_mut(&guard);
    line.process(&mut []);
    let name = line.name();
    std::thread::spawn(move || drop(remote.replace(Delay::named("second")).unwrap())).join().unwrap();
    assert_eq!((name, DROPPED.load(Ordering::SeqCst)), ("first30", 0));
    assert_eq!(handle.get_mut(&guard).name(), "second");
    drop(guard);
    let object: Box<dyn Line> = handle.into_inner().into_box().unwrap();
    assert_eq!(object.name(), "second");
    assert_eq!(object.finish(), 0);
}
