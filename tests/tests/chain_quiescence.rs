//! Threads calling chains, threads editing them at full speed, elements that poison themselves on drop. That it is noticed
//! where nothing waits for the calls is shown in `controls`.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hotcall::{Chain, Instance};
use hotcall_work::stage::{FREED, LARGE, LIVING, MIXED, Stage, Step};

type Element = Step<LARGE, 64>;

/// Of the type that its number says.
fn element() -> Element {
    // Many edits overtake a slow call: whoever is freed too early is freed before the call comes to it.
    Element::new(LARGE, Some(|_| std::thread::sleep(Duration::from_micros(100))))
}

/// Calls and edits for `time`; how many calls came to an element that was not alive. With `guards`, some calls are made under
/// guards, which hold up all grace periods.
fn storm(time: Duration, guards: bool) -> u64 {
    const LENGTH: usize = 16;
    let chain: Chain<dyn Stage> =
        Chain::new((0..LENGTH).map(|_| Instance::new(element()))).expect("there is code memory");
    let (stop, wrong) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for slow in [false, true] {
            let (chain, stop, wrong) = (&chain, &stop, &wrong);
            scope.spawn(move || {
                for question in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let guard = (guards && question % 4 == 0).then(hotcall::pin);
                    let mut answer = question;
                    match &guard {
                        Some(guard) => answer = chain.bind(guard).stamp(answer),
                        None if slow => chain.visit(&mut answer),
                        None => answer = chain.stamp(answer),
                    }
                    wrong.fetch_add(u64::from([FREED, MIXED].contains(&answer)), Ordering::Relaxed);
                }
            });
        }
        for editor in 0..2 {
            let (chain, stop) = (&chain, &stop);
            scope.spawn(move || {
                let mut at = editor;
                while !stop.load(Ordering::Relaxed) {
                    at = (at + 7) % LENGTH;
                    // In place where it can be; and anew.
                    drop(chain.replace(at, element()).expect("there is such an element"));
                    if at % 4 == 0 {
                        let change = |list: &mut hotcall::Edit<dyn Stage>| {
                            list.remove(at);
                            list.push(element());
                        };
                        drop(chain.edit(change).expect("there is code memory"));
                    }
                }
            });
        }
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    wrong.into_inner()
}

#[test]
fn every_element_that_is_called_is_alive() {
    assert_eq!(storm(Duration::from_secs(2), true), 0);

    // Everything goes, without anyone calling again: elements, programs, thunks.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let stats = hotcall::stats();
        let code = stats.chain_programs + stats.chain_sites + stats.chain_thunks + stats.code_bytes_used;
        if stats.freed == stats.retired && code == 0 && LIVING.load(Ordering::Relaxed) == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "never freed: {stats:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
