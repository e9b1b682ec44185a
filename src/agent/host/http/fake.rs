//! An HTTP server of a few lines for tests, so that it can do what no decent server does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to a connection once its request has come.
pub(crate) enum Reply {
    /// An answer with a status line, further header lines (each ended by CRLF) and a body.
    Answer(u16, &'static str, Vec<u8>),
    /// These bytes as they are, then the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, and the connection stays open.
    Hang,
    /// The beginning of an answer, then for ever one byte at a time.
    Drip,
}

/// An answer with a body and no further headers.
pub(crate) fn answer(status: u16, body: &str) -> Reply {
    Reply::Answer(status, "", body.as_bytes().to_vec())
}

/// A server that runs until it is dropped.
pub(crate) struct Fake {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Fake {
    /// Listens on a free port; `reply` is told the head of each request, and how many came before it.
    pub(crate) async fn start(reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::listen(listener, reply)
    }

    /// As [`Fake::start`], by a socket that listens already.
    pub(crate) fn listen(listener: TcpListener, reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (address, seen) = (listener.local_addr().unwrap(), requests.clone());
        let reply = Arc::new(reply);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, reply.clone(), seen.clone()));
            }
        });
        Self { address, requests, task }
    }

    /// The heads of the requests that came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The URL of a path on this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, reply: Arc<impl Fn(&str, usize) -> Reply>, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(head.clone());
        seen.len() - 1
    };
    // A client that has gone away is no fault of the server's.
    let _ = play(&mut stream, reply(&head, number)).await;
}

async fn play(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    match reply {
        Reply::Answer(status, headers, body) => {
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} Status\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await
        }
        Reply::Raw(bytes) => stream.write_all(&bytes).await,
        Reply::Hang => std::future::pending().await,
        Reply::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await?;
            loop {
                stream.write_all(b".").await?;
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
}
