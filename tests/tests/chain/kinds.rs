//! Long chains, static ones, chains in chains and in slots, methods that take the chain exclusively.

use hotcall::{Chain, Instance, chain, dispatch};

use crate::{Add, Effect, Gain, Nothing};

#[dispatch]
trait Counter: Send + Sync {
    fn bump(&self, count: &mut u64);
}
struct One(u64);
impl Counter for One {
    fn bump(&self, count: &mut u64) {
        *count += self.0;
    }
}

#[test]
fn a_hundred_thousand_elements() {
    const COUNT: usize = 100_000;
    let counter: Chain<dyn Counter> = Chain::new((0..COUNT).map(|_| Instance::new(One(1)))).unwrap();
    let count = |counter: &Chain<dyn Counter>| {
        let mut count = 0;
        counter.bump(&mut count);
        count
    };
    assert_eq!(count(&counter), 100_000);
    counter.push(One(5)).unwrap();
    drop(counter.replace(50_000, One(11)).unwrap());
    assert_eq!(count(&counter), 100_015);
    assert_eq!(counter.clear().unwrap().len(), COUNT + 1);
    assert_eq!(count(&counter), 0);
}

#[test]
fn a_chain_is_an_element_and_fills_a_slot() {
    #[hotcall::slot]
    static SLOT: dyn Effect = Nothing;
    let inner: Chain<dyn Effect> = chain![Gain(2.0), Add(1.0)].unwrap();
    let outer: Chain<dyn Effect> = chain![inner, Gain(10.0), Instance::<dyn Effect>::new(Nothing)].unwrap();
    drop(SLOT.replace(outer).unwrap());
    assert_eq!(SLOT.process(1.0), 30.0);
    drop(SLOT.restore().unwrap());
}

#[hotcall::slot]
static ON_PACKET: Chain<dyn Counter> = Chain::EMPTY;

#[test]
fn a_static_chain_is_declared_like_a_slot() {
    let mut count = 0;
    ON_PACKET.bump(&mut count);
    assert_eq!(count, 0);
    ON_PACKET.push(One(3)).unwrap();
    ON_PACKET.push(One(4)).unwrap();
    ON_PACKET.bump(&mut count);
    assert_eq!(count, 7);
    drop(ON_PACKET.clear().unwrap());
}

#[dispatch]
trait Exclusive: Send + Sync {
    fn step(&mut self, x: &mut u32);
}
struct Grows(u32);
impl Exclusive for Grows {
    fn step(&mut self, x: &mut u32) {
        self.0 += 1;
        *x += self.0;
    }
}

#[test]
fn methods_that_take_the_chain_exclusively() {
    let mut chain: Chain<dyn Exclusive> = chain![Grows(0), Grows(10)].unwrap();
    let mut x = 0;
    chain.step(&mut x);
    chain.step(&mut x);
    assert_eq!(x, 1 + 11 + 2 + 12);
}
