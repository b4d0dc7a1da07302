//! A source of weather that is slow and sometimes fails, and a client of it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Serves on a free port. The seed says how long each path takes each time, and when it fails.
pub(crate) async fn start(seed: u64) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let mut times: HashMap<String, u64> = HashMap::new();
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut request = String::new();
            // To the empty line.
            while matches!(stream.read_line(&mut request).await, Ok(3..)) {}
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let time = times.entry(path.clone()).or_default();
            *time += 1;
            let mut chance = DefaultHasher::new();
            (seed, &path, *time).hash(&mut chance);
            tokio::spawn(answer(stream, path, chance.finish()));
        }
    });
    Ok(address)
}

async fn answer(mut stream: BufReader<TcpStream>, path: String, chance: u64) -> io::Result<()> {
    tokio::time::sleep(Duration::from_millis(50 + chance % 250)).await;
    let status = match chance >> 60 {
        0 => return Ok(()), // It hangs up.
        1 => "500 Internal Server Error",
        _ => "200 OK",
    };
    let weather = ["sun", "rain", "fog", "snow"][(chance >> 32) as usize % 4];
    let degrees = (chance >> 40) % 30;
    let names = path.rsplit('/').next().unwrap_or_default().split(',');
    let lines: Vec<_> = names
        .map(|name| format!("{name}: {weather}, {degrees} degrees"))
        .collect();
    let body = lines.join("\n");
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await
}

pub(crate) async fn fetch(source: SocketAddr, path: String) -> io::Result<String> {
    let mut stream = TcpStream::connect(source).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: weather\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        Some((head, _)) => Err(io::Error::other(head.lines().next().unwrap_or_default())),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
