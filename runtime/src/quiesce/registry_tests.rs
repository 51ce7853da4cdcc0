use super::*;

fn thread_of_its_own<R: Send>(test: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| scope.spawn(test).join().unwrap())
}

#[test]
fn a_block_is_a_page() {
    assert_eq!(size_of::<Record>(), 128);
    assert_eq!(size_of::<Block>(), 4096);
}

#[test]
fn an_owner_is_a_thread_of_a_process() {
    let most = Thread { process: (1 << 22) - 1, number: (1 << 22) - 2 };
    let one = owner::claimed_by(NOBODY, most);
    assert_eq!(owner::thread(one), Some(most));
    let two = owner::freed(one);
    assert!(owner::is_free(two) && owner::thread(two).is_none() && two != NOBODY);
    // A generation each, and no word twice.
    assert_ne!(owner::claimed_by(two, most), one);
    // Generations come round.
    let mut owner = one;
    (0..1 << 20).for_each(|_| owner = owner::claimed_by(owner, most));
    assert_eq!(owner, one);
}

#[test]
fn a_thread_that_has_ended_is_known_to_have() {
    let here = thread::current();
    assert!(!here.has_ended(here.process));
    let ended = thread_of_its_own(thread::current);
    // It may take the system a moment after `join`.
    while !ended.has_ended(here.process) {
        std::thread::yield_now();
    }
    assert!(!ended.has_ended(here.process + 1), "nothing is known of another process");
}

#[test]
fn flags_without_number_are_found_in_a_ring() {
    thread_of_its_own(|| {
        let all: Vec<_> = (0..10_000)
            .map(|_| {
                let flag = free_flag().unwrap();
                flag.enter();
                flag
            })
            .collect();
        let mut addresses: Vec<_> = all.iter().map(|flag| ptr::from_ref(*flag).addr()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), all.len(), "each has its own");
        let known: Vec<_> = flags().map(|flag| ptr::from_ref(flag).addr()).collect();
        assert!(addresses.iter().all(|address| known.contains(address)) || known.len() < all.len());
        // One that is given back is found, wherever it lies.
        let ring = || CURSOR.get().unwrap().record.ring();
        let free = ring().flat_map(|record| &record.flags).filter(|flag| flag.is_free()).count();
        (0..free).for_each(|_| free_flag().unwrap().enter());
        all[5_000].leave();
        assert!(ptr::eq(free_flag().unwrap(), all[5_000]));
        all[5_000].enter();
        assert!(is_inside());
        ring().flat_map(|record| &record.flags).for_each(Flag::leave);
        assert!(!is_inside());
        let records = ring().count();
        assert!(records <= 2 * 10_000 / FLAGS + PER_BLOCK, "{records}");
        // And no more are taken.
        (0..10_000).for_each(|_| free_flag().unwrap().enter());
        assert_eq!(ring().count(), records);
        ring().flat_map(|record| &record.flags).for_each(Flag::leave);
    });
}

/// The number of a thread that has ended is given to another, which takes its record over, unless something is held in it.
#[test]
fn a_record_that_has_ones_number() {
    thread_of_its_own(|| {
        let thread = Thread { number: (1 << 22) - 3, ..thread::current() };
        let (owner, record, first) = claim(thread, true).unwrap();
        let (_, again, second) = claim(thread, true).unwrap();
        assert!(ptr::eq(record, again) && first != second);
        record.flags[3].enter();
        let (other, third, _) = claim(thread, true).unwrap();
        assert!(!ptr::eq(record, third), "what is held there is held for ever");
        assert!(!reap(owner, record, thread));
        record.flags[3].leave();
        // Nobody has that number.
        assert!(reap(owner, record, thread) && reap(other, third, thread));
        assert!(owner::is_free(owner.load(Ordering::Relaxed)));
        assert!(change_hands(owner, record, second, first).is_none(), "it has changed hands since");
    });
}

#[test]
fn threads_without_number_take_no_room() {
    let churn = |times: usize| (0..times).for_each(|_| assert!(thread_of_its_own(|| free_flag().is_some())));
    churn(500);
    let before = blocks().count();
    churn(5_000);
    // Other tests of this process take records, too.
    assert!(blocks().count() <= before.max(2) * 2 + 60, "{before} and then {}", blocks().count());
}
