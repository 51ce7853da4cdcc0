//! A slot's lock that is never given back. In a program of its own, for the guard that goes with it is held for ever.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use hotcall::{LockError, dispatch, slot};

#[dispatch]
pub trait Line: Send {
    fn process(&mut self, block: &mut [f32]);
}
struct Delay(f32);
impl Line for Delay {
    fn process(&mut self, block: &mut [f32]) {
        for sample in block {
            std::mem::swap(sample, &mut self.0);
        }
    }
}

#[test]
fn a_lock_that_is_never_given_back() {
    #[slot]
    static LINE: dyn Line = Delay(0.0);
    std::thread::spawn(|| {
        let mut line = LINE.lock();
        line.process(&mut []);
        std::mem::forget(line);
        assert_eq!(LINE.try_lock().unwrap_err(), LockError::Reentrant);
    })
    .join()
    .unwrap();
    assert_eq!(LINE.try_lock().unwrap_err(), LockError::Locked);
    assert!(format!("{LINE:?}").contains("LINE"));
    // Replacing goes on, alone and in a batch.
    drop(LINE.replace(Delay(1.0)).unwrap());
    let replaced = hotcall::batch(|batch| {
        batch.replace(&LINE, Delay(2.0));
    });
    drop(replaced.unwrap());
    assert!(LINE.target().type_name().ends_with("Delay"));
}
