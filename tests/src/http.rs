//! A plain HTTP/1.1 client that sends what it is told, right or wrong, over one connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// One connection, used for one request after the other.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// Names in lower case, and values.
pub type Headers = Vec<(String, String)>;

/// One answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
}

impl Connection {
    /// `hang_timeout` bounds every read and write: it tells a hang from an answer, no more.
    ///
    /// # Errors
    /// When nobody accepts the connection.
    pub fn open(address: SocketAddr, hang_timeout: Duration) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, hang_timeout)?;
        stream.set_read_timeout(Some(hang_timeout))?;
        stream.set_write_timeout(Some(hang_timeout))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    /// Sends `GET target` and waits for the answer.
    ///
    /// # Errors
    /// As [`Connection::receive`].
    pub fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
        self.send("GET", target, headers, &[])?;
        self.receive()
    }

    /// Sends `POST target` with the body as JSON and waits for the answer.
    ///
    /// # Errors
    /// As [`Connection::receive`].
    pub fn post(
        &mut self,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        self.send("POST", target, headers, body)?;
        self.receive()
    }

    /// Sends one request and does not wait.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: headwater\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = body.len();
        head.push_str(&format!("content-type: application/json\r\ncontent-length: {length}\r\n"));
        head.push_str("\r\n");
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request)
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// When the connection breaks, nothing comes in time, or what comes is no answer.
    pub fn receive(&mut self) -> io::Result<Answer> {
        let (status, headers) = self.head()?;
        self.rest(status, headers)
    }

    /// Reads the body of an answer whose head has been read.
    ///
    /// # Errors
    /// As [`Connection::receive`].
    pub fn rest(&mut self, status: u16, headers: Headers) -> io::Result<Answer> {
        let mut body = Vec::new();
        if status == 204 {
            return Ok(Answer { status, headers, body });
        }
        if is_chunked(&headers) {
            while let Some(piece) = self.piece()? {
                body.extend(piece);
            }
            return Ok(Answer { status, headers, body });
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.and_then(|(_, value)| value.parse().ok());
        let length = length.ok_or_else(|| wrong("no content-length".to_owned()))?;
        body.resize(length, 0);
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, headers, body })
    }

    /// Reads the status and the headers of one answer.
    ///
    /// # Errors
    /// As [`Connection::receive`].
    pub fn head(&mut self) -> io::Result<(u16, Headers)> {
        let first = self.line()?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|digits| digits.parse().ok());
        let status = status.ok_or_else(|| wrong(format!("no status line: {first:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| wrong(format!("no header: {line:?}")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads whatever comes, heads and chunk sizes with it, until `word` stands in it or the other
    /// side ends the connection.
    ///
    /// # Errors
    /// When nothing comes in time.
    pub fn receive_until(&mut self, word: &str) -> io::Result<String> {
        let mut heard = Vec::new();
        loop {
            let piece = match self.stream.fill_buf() {
                // An answer that is cut may end so.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => &[],
                piece => piece?,
            };
            let length = piece.len();
            heard.extend_from_slice(piece);
            self.stream.consume(length);
            let text = String::from_utf8_lossy(&heard);
            if length == 0 || text.contains(word) {
                return Ok(text.into_owned());
            }
        }
    }

    /// The next chunk of a body in chunks (RFC 9112, section 7.1); none at its end.
    ///
    /// # Errors
    /// As [`Connection::receive`].
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let length = usize::from_str_radix(line.trim(), 16);
        let length = length.map_err(|_| wrong(format!("no length of a chunk: {line:?}")))?;
        let mut piece = vec![0; length];
        self.stream.read_exact(&mut piece)?;
        self.line()?;
        Ok((length > 0).then_some(piece))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// OpenAI's `code` of an error; empty when the answer is none.
    pub fn error_code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The body as text, with a mark for whatever is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Whether a body comes in chunks.
pub fn is_chunked(headers: &Headers) -> bool {
    headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked")
}

fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
