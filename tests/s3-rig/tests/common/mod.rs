//! A client that knows nothing of S3 and shows everything that comes.
#![allow(dead_code)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// The body was shorter than promised, or the connection was reset in it.
    pub broken: Option<io::ErrorKind>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A connection that is kept.
pub struct Client {
    stream: TcpStream,
    addr: SocketAddr,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Self { stream, addr }
    }

    pub fn read_timeout(self, limit: Duration) -> Self {
        self.stream.set_read_timeout(Some(limit)).unwrap();
        self
    }

    pub fn send(&mut self, text: &[u8]) -> io::Result<()> {
        self.stream.write_all(text)
    }

    pub fn ask(&mut self, method: &str, target: &str, body: &[u8]) -> io::Result<Reply> {
        self.ask_with(method, target, "", body)
    }

    pub fn ask_with(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<Reply> {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n{headers}\r\n",
            self.addr,
            body.len()
        );
        self.send(head.as_bytes())?;
        // A server that closes early may have answered; if not, this is what it did.
        let sent = self.send(body);
        match (self.reply(method), sent) {
            (Err(_), Err(error)) => Err(error),
            (reply, _) => reply,
        }
    }

    pub fn reply(&mut self, method: &str) -> io::Result<Reply> {
        let head = self.head()?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply {
            status,
            head,
            body: Vec::new(),
            broken: None,
        };
        let ended = if method == "HEAD" || status == 204 {
            Ok(())
        } else if let Some(length) = reply.header("content-length") {
            let length = length.parse().unwrap();
            self.body(&mut reply.body, length)
        } else if reply.header("transfer-encoding") == Some("chunked") {
            self.chunks(&mut reply.body)
        } else {
            self.stream.read_to_end(&mut reply.body).map(|_| ())
        };
        reply.broken = ended.err().map(|error| error.kind());
        Ok(reply)
    }

    fn head(&mut self) -> io::Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        Ok(String::from_utf8(head).unwrap())
    }

    fn body(&mut self, into: &mut Vec<u8>, length: usize) -> io::Result<()> {
        let mut left = length;
        let mut buffer = vec![0; 65536];
        while left > 0 {
            let wanted = left.min(buffer.len());
            let read = self.stream.read(&mut buffer[..wanted])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            into.extend_from_slice(&buffer[..read]);
            left -= read;
        }
        Ok(())
    }

    fn chunks(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                let mut byte = [0];
                self.stream.read_exact(&mut byte)?;
                line.push(byte[0]);
            }
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
            self.body(into, size)?;
            self.stream.read_exact(&mut [0; 2])?;
            if size == 0 {
                return Ok(());
            }
        }
    }
}

/// One request on a connection of its own.
pub fn ask(addr: SocketAddr, method: &str, target: &str, body: &[u8]) -> io::Result<Reply> {
    Client::connect(addr).ask(method, target, body)
}

/// The text between `<tag>` and `</tag>`.
pub fn tag(xml: &str, tag: &str) -> String {
    let begin = xml.find(&format!("<{tag}>")).unwrap() + tag.len() + 2;
    let end = xml[begin..].find('<').unwrap();
    xml[begin..begin + end].to_owned()
}

/// Bytes that differ from place to place.
pub fn bytes(count: usize) -> Vec<u8> {
    (0..count)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect()
}
