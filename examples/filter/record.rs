//! The records: lines of a web server's log.

/// One line, and what the Common Log Format says of it: `HOST IDENT USER [TIME] "METHOD PATH PROTOCOL" STATUS BYTES`.
///
/// Of a line in another format only `line` and `length` are known: numbers are 0, texts empty, flags off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    pub line: &'a str,
    pub host: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub length: u64,
    pub status: u64,
    pub bytes: u64,
    /// The client had it already: status 304.
    pub cached: bool,
    /// Status 400 or above.
    pub failed: bool,
}

impl<'a> Record<'a> {
    pub fn new(line: &'a str) -> Self {
        let plain = Self { line, length: line.len() as u64, ..Self::default() };
        Self::parse(plain, line).unwrap_or(plain)
    }

    fn parse(plain: Self, line: &'a str) -> Option<Self> {
        let mut quoted = line.split('"');
        let (before, request, after) = (quoted.next()?, quoted.next()?, quoted.next()?);
        let mut request = request.split(' ');
        let mut after = after.split_ascii_whitespace();
        let status = after.next()?.parse().ok()?;
        Some(Self {
            host: before.split(' ').next()?,
            method: request.next()?,
            path: request.next()?,
            status,
            // `-` where nothing was sent.
            bytes: after.next()?.parse().unwrap_or(0),
            cached: status == 304,
            failed: status >= 400,
            ..plain
        })
    }

    /// Whether the line was in the Common Log Format.
    pub fn is_parsed(&self) -> bool {
        !self.method.is_empty()
    }
}

/// A log that no server has written, the same at each run.
pub fn made_up(records: usize) -> String {
    const METHODS: [&str; 4] = ["GET", "GET", "GET", "POST"];
    const PATHS: [&str; 6] =
        ["/", "/index.html", "/api/v1/orders", "/static/app.js", "/healthz", "/search?q=rapid"];
    const STATUS: [u64; 8] = [200, 200, 200, 200, 304, 404, 500, 503];
    let mut state = 42_u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut log = String::new();
    for number in 0..records {
        let host = format!("10.{}.{}.{}", next(256), next(256), next(256));
        let (method, path) = (METHODS[next(4) as usize], PATHS[next(6) as usize]);
        let (minute, second) = (number / 60 % 60, number % 60);
        let (status, bytes) = (STATUS[next(8) as usize], next(4_000));
        log.push_str(&format!(
            "{host} - - [10/Oct/2000:13:{minute:02}:{second:02} -0700] \"{method} {path} HTTP/1.1\" {status} {bytes}\n"
        ));
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_format_is_taken_apart() {
        let line = r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /logo.gif HTTP/1.0" 304 -"#;
        let record = Record::new(line);
        assert_eq!((record.host, record.method, record.path), ("127.0.0.1", "GET", "/logo.gif"));
        assert_eq!((record.status, record.bytes, record.length), (304, 0, line.len() as u64));
        assert!(record.is_parsed() && record.cached && !record.failed);
    }

    #[test]
    fn any_other_line_is_a_record_too() {
        for line in ["", "kernel: out of memory", r#"half a "line"#, r#"a "GET /" x 5"#] {
            let record = Record::new(line);
            assert_eq!((record.line, record.length, record.status), (line, line.len() as u64, 0));
            assert!(!record.is_parsed());
        }
    }

    #[test]
    fn what_is_made_up_is_in_the_format() {
        assert!(
            made_up(500).lines().map(Record::new).all(|record| record.is_parsed() && record.status >= 200)
        );
    }
}
