//! Services, verifiers of certificates, streams.

use std::fmt::Debug;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hotcall::{dispatch, slot};

#[derive(Debug)]
pub struct Certificate<'a>(&'a [u8]);
pub enum Name<'a> {
    Dns(&'a str),
}
/// A verifier of certificates.
#[dispatch]
pub trait Verifier: Debug + Send + Sync {
    fn verify(
        &self,
        end: &Certificate<'_>,
        chain: &[Certificate<'_>],
        name: &Name<'_>,
        stapled: &[u8],
        now: u64,
    ) -> Result<u8, String>;
    fn schemes(&self) -> Vec<u16>;
    fn hints(&self) -> Option<&[u8]> {
        None
    }
}
#[derive(Debug)]
struct Pinned(u8);
impl Verifier for Pinned {
    fn verify(
        &self,
        end: &Certificate<'_>,
        chain: &[Certificate<'_>],
        Name::Dns(name): &Name<'_>,
        stapled: &[u8],
        now: u64,
    ) -> Result<u8, String> {
        if end.0.first() == Some(&self.0) {
            Ok(now as u8)
        } else {
            Err(format!("{name} {chain:?} {stapled:?}"))
        }
    }
    fn schemes(&self) -> Vec<u16> {
        vec![u16::from(self.0)]
    }
    fn hints(&self) -> Option<&[u8]> {
        Some(std::slice::from_ref(&self.0))
    }
}
#[slot]
static VERIFIER: dyn Verifier = Pinned(0);

#[test]
fn a_verifier() {
    shared!(VERIFIER: dyn Verifier = Pinned(4);
        |verifier| (
            verifier.verify(&Certificate(&[4]), &[], &Name::Dns("a"), &[], 5),
            verifier.verify(&Certificate(&[]), &[Certificate(&[1])], &Name::Dns("b"), &[2], 6),
            verifier.schemes(),
        );
        lends |verifier| verifier.hints().map(<[u8]>::to_vec));
}

/// A stream: it is polled where it is pinned, and asked where it is not.
#[dispatch]
pub trait Stream: Send + Sync {
    type Item;
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>>;
    fn get_ref(self: Pin<&Self>) -> u8 {
        1
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, None)
    }
}
struct Down(u8);
impl Stream for Down {
    type Item = u8;
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u8>> {
        let next = self.0.checked_sub(1);
        self.0 = next.unwrap_or(0);
        Poll::Ready(next)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.into(), Some(self.0.into()))
    }
}
#[slot]
static STREAM: dyn Stream<Item = u8> = Down(0);

#[test]
fn a_stream() {
    shared!(STREAM: dyn Stream<Item = u8> = Down(2);
        |stream| stream.size_hint();
        lends |stream| stream.size_hint());
    let instance = hotcall::Patched::<dyn Stream<Item = u8>>::new(Down(1)).into_inner();
    let mut pinned = Box::into_pin(instance.into_box().unwrap());
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(Stream::get_ref(pinned.as_ref()), 1);
    assert_eq!(pinned.as_mut().poll_next(&mut context), Poll::Ready(Some(0)));
    assert_eq!(pinned.as_mut().poll_next(&mut context), Poll::Ready(None));
}

/// What stands before a handler is called as a function.
#[dispatch(blanket)]
pub trait Interceptor: Fn(&str) -> String + Send + Sync {
    fn priority(&self) -> i32 {
        3
    }
}
impl<F: Fn(&str) -> String + Send + Sync> Interceptor for F {}
fn shout(text: &str) -> String {
    text.to_uppercase()
}
#[slot]
static INTERCEPTOR: dyn Interceptor = shout as fn(&str) -> String;

#[test]
fn an_interceptor() {
    shared!(INTERCEPTOR: dyn Interceptor = |text: &str| format!("<{text}>");
        |interceptor| interceptor.priority();
        lends |interceptor| interceptor.priority());
    assert_eq!((*INTERCEPTOR.get(&hotcall::pin()))("x"), "<x>");
}
