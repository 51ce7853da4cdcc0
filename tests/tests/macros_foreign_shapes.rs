//! Traits of other crates with `&mut self`, with results that borrow, and with supertraits.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use decoder::Service as _;
use hotcall::{Patched, foreign, pin, slot};

/// Another crate, as far as a module can be one.
pub mod decoder {
    use std::fmt::{Debug, Display};

    pub trait Decoder: Send {
        fn decode(&mut self, packet: &[u8]) -> Result<&[u8], String>;
        fn reset(&mut self);
        fn name(&self) -> &str {
            "unnamed"
        }
    }
    impl<D: Decoder + ?Sized> Decoder for &mut D {
        fn decode(&mut self, packet: &[u8]) -> Result<&[u8], String> {
            (**self).decode(packet)
        }
        fn reset(&mut self) {
            (**self).reset();
        }
        fn name(&self) -> &str {
            (**self).name()
        }
    }
    /// As `tower::Service` is.
    pub trait Service<Request> {
        type Response;
        type Error;
        fn ready(&self) -> Result<(), Self::Error>;
        fn call(&self, request: Request) -> Result<Self::Response, Self::Error>;
    }
    impl<S: Service<Request> + ?Sized, Request> Service<Request> for &S {
        type Response = S::Response;
        type Error = S::Error;
        fn ready(&self) -> Result<(), Self::Error> {
            (**self).ready()
        }
        fn call(&self, request: Request) -> Result<Self::Response, Self::Error> {
            (**self).call(request)
        }
    }
    pub trait Provider: Debug + Display + Send + Sync {
        fn name(&self) -> &str;
        fn columns(&self) -> usize;
    }
}

foreign! {
    trait decoder::Decoder {
        fn decode(&mut self, packet: &[u8]) -> Result<&[u8], String>;
        fn reset(&mut self);
        fn name(&self) -> &str;
    }
    // Of those implementors that are `Send`: so handles have remotes.
    trait decoder::Service<u32> as Numbers: Send {
        type Response;
        type Error;
        fn ready(&self) -> Result<(), Self::Error>;
        fn call(&self, request: u32) -> Result<Self::Response, Self::Error>;
    }
    trait decoder::Provider: Debug + Display {
        fn name(&self) -> &str;
        fn columns(&self) -> usize;
    }
}

#[derive(Debug)]
struct Xor(u8, Vec<u8>);
impl Xor {
    const fn new(key: u8) -> Self {
        Self(key, Vec::new())
    }
}
impl decoder::Decoder for Xor {
    fn decode(&mut self, packet: &[u8]) -> Result<&[u8], String> {
        self.1 = packet.iter().map(|byte| byte ^ self.0).collect();
        Ok(&self.1)
    }
    fn reset(&mut self) {
        self.1.clear();
    }
    fn name(&self) -> &str {
        "xor"
    }
}
impl std::fmt::Display for Xor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "xor {}", self.0)
    }
}
impl decoder::Provider for Xor {
    fn name(&self) -> &str {
        "provider"
    }
    fn columns(&self) -> usize {
        usize::from(self.0)
    }
}

impl decoder::Service<u32> for Xor {
    type Response = u64;
    type Error = String;
    fn ready(&self) -> Result<(), String> {
        Err("busy".into())
    }
    fn call(&self, request: u32) -> Result<u64, String> {
        Ok(u64::from(request) ^ u64::from(self.0))
    }
}
#[slot]
static NUMBERS: dyn Numbers<Response = u64, Error = String> = Xor::new(3);
#[slot]
static DECODER: dyn Decoder = Xor::new(1);
#[slot]
static PROVIDER: dyn Provider = Xor::new(2);

#[test]
fn through_locks_guards_and_handles() {
    let mut decoder = DECODER.lock();
    assert_eq!(decoder.decode(&[1, 2]).unwrap(), [0, 3]);
    decoder.reset();
    assert_eq!(decoder.name(), "xor");
    drop(decoder);
    let mut handle: Patched<dyn Decoder> = Patched::new(Xor::new(4));
    handle.reset();
    let guard = pin();
    assert_eq!(handle.get_mut(&guard).decode(&[4]).unwrap(), [0]);

    drop(PROVIDER.replace(Xor::new(7)).unwrap());
    assert_eq!((PROVIDER.columns(), PROVIDER.to_string()), (7, "xor 7".into()));
    assert_eq!((PROVIDER.bind(&guard).name(), PROVIDER.get(&guard).name()), ("provider", "provider"));
}

#[test]
fn associated_types() {
    fn call<S: decoder::Service<u32, Response = u64>>(service: &S) -> (bool, u64) {
        (service.ready().is_ok(), service.call(1).ok().unwrap())
    }
    assert_eq!((NUMBERS.call(2), call(&NUMBERS), call(&NUMBERS.handle())), (Ok(1), (false, 2), (false, 2)));
    drop(NUMBERS.replace(Xor::new(8)).unwrap());
    assert_eq!(NUMBERS.bind(&pin()).call(1), Ok(9));
}

/// What owns an instance, and what has the lock, go where the other crate wants an implementor.
#[test]
fn foreign_code_takes_handles_and_locks() {
    fn decoded(mut decoder: impl decoder::Decoder) -> Vec<u8> {
        decoder.reset();
        decoder.decode(&[5]).unwrap().to_vec()
    }
    fn call(service: impl decoder::Service<u32, Response = u64, Error = String>) -> u64 {
        service.call(1).unwrap()
    }
    drop(DECODER.replace(Xor::new(1)).unwrap());
    assert_eq!(decoded(&mut *DECODER.lock()), [4]);
    let handle: Patched<dyn Numbers<Response = u64, Error = String>> = Patched::new(Xor::new(2));
    assert_eq!(call(&*handle), 3);
    drop(handle.remote().replace(Xor::new(4)).unwrap());
    assert_eq!(call(&*handle), 5);
}
