//! A web service whose handler is swapped under load: `tower_service::Service`, as its crate declares it.
//!
//! ```sh
//! cargo run --release --example service
//! ```
//!
//! Several connections ask one thing after another, each in a thread of its own. Half of the requests go to a handler that the
//! connection owns, a [`Patched`] where a `Box<dyn Service>` stood; half to one that all share, in a slot. Meanwhile version
//! after version is deployed to all of them. Every answer is compared with that of the same version in a `Box<dyn Service>`; and no
//! request that was begun after a version was deployed may be answered by one before it. Where either happens, the program
//! fails.

mod site;

use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use clap::Parser;
use hotcall::{Patched, Remote, foreign, slot};
use http::{Method, Request, Response};
use site::{Answer, NotReady, Site, VERSION};
use tower_service::Service;

foreign! {
    /// What answers a request. It is `Send`: so a handler can be swapped from another thread.
    pub trait tower_service::Service<Request<String>> as Handler: Send {
        type Response;
        type Error;
        type Future: Future<Output = Result<Self::Response, Self::Error>>;
        fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>>;
        fn call(&mut self, request: Request<String>) -> Self::Future;
    }
}

/// The handler, with its types named.
type Handles = dyn Handler<Response = Response<String>, Error = NotReady, Future = Answer>;

/// What all connections share.
#[slot]
static SHARED: dyn Handler<Response = Response<String>, Error = NotReady, Future = Answer> = Site::new(0);

/// The version that every request gets at least.
static DEPLOYED: AtomicU32 = AtomicU32::new(0);

/// A web service whose handler is swapped under load.
#[derive(Parser)]
struct Arguments {
    /// How many requests each connection makes.
    #[arg(long, default_value_t = 100_000)]
    requests: u32,
    /// How many connections there are.
    #[arg(long, default_value_t = 4)]
    connections: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let handlers: Vec<_> =
        (0..arguments.connections).map(|_| Patched::<Handles>::new(Site::new(0))).collect();
    let remotes: Vec<_> = handlers.iter().map(Patched::remote).collect();
    let done = AtomicBool::new(false);
    let begin = Instant::now();
    let (tallies, versions) = std::thread::scope(|scope| {
        let connections: Vec<_> = handlers
            .into_iter()
            .map(|handler| scope.spawn(move || connection(handler, arguments.requests)))
            .collect();
        let deploys = scope.spawn(|| deploy(&remotes, &done));
        let tallies: Vec<_> = connections.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::Relaxed);
        (tallies, deploys.join())
    });
    let seconds = begin.elapsed().as_secs_f64();
    let versions = versions.map_err(|_| "the thread that deploys panicked")??;

    let mut sum = Tally::default();
    for tally in tallies {
        let tally = tally.map_err(|_| "a connection panicked")?;
        sum = Tally {
            answered: sum.answered + tally.answered,
            asked_again: sum.asked_again + tally.asked_again,
            differing: sum.differing + tally.differing,
            stale: sum.stale + tally.stale,
        };
    }
    println!(
        "{} requests answered, {versions} versions deployed to {} handlers and a slot meanwhile, {:.0} ns a request",
        sum.answered,
        arguments.connections,
        seconds * 1e9 * arguments.connections as f64 / f64::from(sum.answered.max(1))
    );
    println!("{} asked again: a version came between its `poll_ready` and its `call`", sum.asked_again);
    println!(
        "{} answers differ from Box<dyn Service>, {} came from a version that was gone",
        sum.differing, sum.stale
    );
    if sum.differing + sum.stale != 0 {
        return Err("answers are wrong".into());
    }
    Ok(())
}

/// What a connection has seen.
#[derive(Default)]
struct Tally {
    answered: u32,
    asked_again: u32,
    differing: u32,
    stale: u32,
}

fn connection(mut handler: Patched<Handles>, requests: u32) -> Tally {
    let mut tally = Tally::default();
    for number in 0..requests {
        let request = request(number);
        let least = DEPLOYED.load(Ordering::Acquire);
        // Either goes wherever the crate wants a service: here, into its middleware.
        let response = if number % 2 == 0 {
            ask(Counted { service: &mut *handler, calls: &mut tally.asked_again }, &request)
        } else {
            ask(Counted { service: &mut *SHARED.lock(), calls: &mut tally.asked_again }, &request)
        };
        tally.asked_again -= 1;
        tally.answered += 1;
        let version = response.headers().get(VERSION).and_then(|version| version.to_str().ok()?.parse().ok());
        tally.stale += u32::from(version.is_none_or(|version| version < least));
        tally.differing += u32::from(!is_same(&response, &from_a_box(version.unwrap_or(0), &request)));
    }
    tally
}

/// Counts calls: what a layer of `tower` looks like.
struct Counted<'a, S> {
    service: S,
    calls: &'a mut u32,
}

impl<S: Service<R>, R> Service<R> for Counted<'_, S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        *self.calls += 1;
        self.service.call(request)
    }
}

/// Asks until it is answered.
fn ask<S>(mut service: S, request: &Request<String>) -> Response<String>
where
    S: Service<Request<String>, Response = Response<String>, Error = NotReady, Future = Answer>,
{
    loop {
        let answer = wait(poll_fn(|context| service.poll_ready(context)))
            .and_then(|()| wait(service.call(request.clone())));
        // `NotReady`: each of the two calls ran what was there as it began. Who wants both to be one handler's calls what
        // `Patched::get_mut` gives, or what the lock derefs to.
        if let Ok(response) = answer {
            return response;
        }
    }
}

/// Version after version, to every handler, until the connections are done.
fn deploy(remotes: &[Remote<Handles>], done: &AtomicBool) -> Result<u32, String> {
    let mut version = 0;
    while version == 0 || !done.load(Ordering::Relaxed) {
        version += 1;
        drop(SHARED.replace(Site::new(version)).map_err(|error| error.to_string())?);
        for remote in remotes {
            match remote.replace(Site::new(version)) {
                // What is replaced is freed when no request is inside.
                Ok(retired) => drop(retired),
                Err(error) if matches!(error.error(), hotcall::Error::HandleDropped) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        DEPLOYED.store(version, Ordering::Release);
        std::thread::yield_now();
    }
    Ok(version)
}

fn request(number: u32) -> Request<String> {
    const PATHS: [&str; 4] = ["/", "/index.html", "/missing", "/orders/17"];
    let method = match number % 7 {
        0..=4 => Method::GET,
        5 => Method::POST,
        _ => Method::DELETE,
    };
    let mut request = Request::new(format!("order {number}"));
    *request.method_mut() = method;
    *request.uri_mut() = http::Uri::from_static(PATHS[number as usize % PATHS.len()]);
    request
}

/// What the same version answers as most programs have it.
fn from_a_box(version: u32, request: &Request<String>) -> Response<String> {
    let service: Box<dyn Service<Request<String>, Response = _, Error = _, Future = _>> =
        Box::new(Site::new(version));
    ask(service, request)
}

fn is_same(one: &Response<String>, other: &Response<String>) -> bool {
    (one.status(), one.headers(), one.body()) == (other.status(), other.headers(), other.body())
}

/// Polls until it is ready. A server would do something else meanwhile.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
