//! The handler: one version of a site, as a `tower` service.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Request, Response, StatusCode};
use tower_service::Service;

/// The header that says which version has answered.
pub const VERSION: &str = "x-version";

/// What comes of a request.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response<String>, NotReady>> + Send>>;

/// The service was called before it had said that it is ready.
#[derive(Debug)]
pub struct NotReady;

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the service was not asked whether it is ready: poll it, and call again")
    }
}

impl std::error::Error for NotReady {}

/// One version of the site.
pub struct Site {
    version: u32,
    /// Whether it has been asked since the last call.
    ready: bool,
    greeting: &'static str,
}

impl Site {
    pub const fn new(version: u32) -> Self {
        let greeting = match version % 3 {
            0 => "Welcome to",
            1 => "This is",
            _ => "You are at",
        };
        Self { version, ready: false, greeting }
    }
}

impl Service<Request<String>> for Site {
    type Response = Response<String>;
    type Error = NotReady;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotReady>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Answer {
        let ready = std::mem::take(&mut self.ready);
        let (version, greeting) = (self.version, self.greeting);
        Box::pin(async move {
            if !ready {
                return Err(NotReady);
            }
            // What a request waits for: the handler that has made this may be gone when it goes on.
            pending_once().await;
            let (status, body) = match (request.method(), request.uri().path()) {
                (&Method::GET, "/missing") => (StatusCode::NOT_FOUND, "nothing here".into()),
                (&Method::GET, path) => (StatusCode::OK, format!("{greeting} {path}, version {version}")),
                (&Method::POST, _) => (StatusCode::CREATED, request.into_body().to_uppercase()),
                _ => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
            };
            let mut response = Response::new(body);
            *response.status_mut() = status;
            response.headers_mut().insert(VERSION, version.into());
            Ok(response)
        })
    }
}

/// Lets others run, once.
fn pending_once() -> impl Future<Output = ()> {
    let mut polled = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}
