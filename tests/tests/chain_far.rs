//! Chains whose elements' code lies in a shared library, more than 2 GiB from the program.
#![allow(missing_docs)]
#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu", not(hotcall_portable)))]

use hotcall::{Chain, Instance, Library};
use hotcall_examples::plugins;
use hotcall_work::stage::{FAR, Fold, KINDS, LARGE, MIXED, SMALL, Stage, Step, Wide};

/// How far a call's displacement reaches.
const REACH: usize = 1 << 31;

/// A number whose element is of this type, and does not stop.
fn number(kind: u64, index: u64) -> u64 {
    (index * 8 + 1) * KINDS + kind
}

fn near(index: u64) -> (u64, Instance<dyn Stage>) {
    let (small, large) = (number(SMALL, index), number(LARGE, index));
    match index % 2 {
        0 => (small, Instance::new(Step::<SMALL, 2>::new(small, None))),
        _ => (large, Instance::new(Step::<LARGE, 48>::new(large, None))),
    }
}

fn far(library: &Library, index: u64) -> (u64, Instance<dyn Stage>) {
    let number = number(FAR, index);
    (number, library.instantiate::<dyn Stage>(&number.to_string()).unwrap())
}

fn library() -> Library {
    hotcall::load_libraries_near(false);
    let built = plugins::build(&["hotcall-worker"]).unwrap();
    plugins::open(&built[0]).unwrap()
}

/// Calls every method, and compares with what the numbers say.
fn check(chain: &Chain<dyn Stage>, numbers: &[u64]) {
    let fold = Fold::of(numbers.iter().copied());
    for question in [0, 7, u64::MAX >> 1] {
        let wanted = fold.apply(question);
        assert!(wanted < MIXED);
        assert_eq!(chain.stamp(question), wanted, "{numbers:?}");
        let (mut visited, mut searched, mut failed) = (question, question, question);
        chain.visit(&mut visited);
        assert!(!chain.until(&mut searched), "no element stops");
        chain.fail(&mut failed);
        assert_eq!([visited, searched, failed], [wanted; 3], "{numbers:?}");
    }
}

/// How far the method's code is from its elements' code: the nearest, and the farthest.
fn distances(chain: &Chain<dyn Stage>) -> (usize, usize) {
    let emitted = chain.__emitted().unwrap();
    let method = &emitted[0];
    assert_ne!(method.entry, 0);
    let distances = method.targets.iter().map(|target| target.abs_diff(method.entry));
    let (least, greatest) = (distances.clone().min(), distances.max());
    (least.unwrap(), greatest.unwrap())
}

#[test]
fn near_and_far_elements_in_one_chain() {
    let library = library();
    let chain: Chain<dyn Stage> = Chain::EMPTY;
    let mut numbers = Vec::new();
    for index in 0..12 {
        let (number, element) = if index % 3 == 0 { far(&library, index) } else { near(index) };
        numbers.push(number);
        chain.push(element).unwrap();
        check(&chain, &numbers);
        if index == 0 {
            // One element, and that one far: a jump through a register.
            assert!(distances(&chain).0 > REACH, "the library is where calls reach it");
        }
    }
    let (least, greatest) = distances(&chain);
    assert!(least < REACH && greatest > REACH, "{least:#x}, {greatest:#x}");

    // Far for near and near for far, and far for far: that is the same type.
    for (at, index) in [(1, 20), (3, 21), (0, 22), (9, 23)] {
        let make_far = at != 3;
        let (number, element) = if make_far { far(&library, index) } else { near(index) };
        numbers[at] = number;
        drop(chain.replace(at, element).unwrap().wait().unwrap());
        check(&chain, &numbers);
    }
    chain.swap(0, 11).unwrap();
    numbers.swap(0, 11);
    check(&chain, &numbers);
    while !numbers.is_empty() {
        let at = numbers.len() / 2;
        numbers.remove(at);
        drop(chain.remove(at).unwrap());
        check(&chain, &numbers);
    }
}

#[test]
fn far_elements_alone_and_in_a_loop() {
    let library = library();
    let (numbers, elements): (Vec<_>, Vec<_>) = (0..40).map(|index| far(&library, index)).unzip();
    let chain: Chain<dyn Stage> = Chain::new(elements).unwrap();
    assert!(distances(&chain).0 > REACH);
    check(&chain, &numbers);

    let looped: Chain<dyn Wide> = Chain::EMPTY;
    for number in &numbers {
        looped.push(library.instantiate::<dyn Wide>(&number.to_string()).unwrap()).unwrap();
    }
    let (wanted, mut found) = (Fold::of(numbers.iter().copied()).apply(5), 5);
    looped.wide((1, 0), &mut found);
    assert_eq!((found, looped.stamp(5)), (wanted, wanted));
}

/// A panic of a near element passes the frame of a chain whose other elements are far.
#[test]
fn a_panic_between_far_elements() {
    let library = library();
    let stops = 0;
    let first = number(FAR, 1);
    let chain: Chain<dyn Stage> = Chain::EMPTY;
    chain.push(far(&library, 1).1).unwrap();
    chain.push(Step::<SMALL, 2>::new(stops, None)).unwrap();
    chain.push(far(&library, 2).1).unwrap();
    let mut x = 9;
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| chain.fail(&mut x)));
    let payload = *caught.unwrap_err().downcast::<u64>().unwrap();
    assert_eq!(payload, Fold::of([first, stops]).apply(9));
    drop(chain.remove(1).unwrap().wait().unwrap());
    check(&chain, &[first, number(FAR, 2)]);
}
