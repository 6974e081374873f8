//! What callers rely on: streams are independent pipes with two ends each, and neither side can be made to hold too much.

use std::time::Duration;

use bytes::BytesMut;
use spdy::{Connection, Decoder, Encoder, Frame, Headers, Role, Setting, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

fn pair() -> (Connection, Connection) {
    let (near, far) = tokio::io::duplex(64 << 10);
    (
        Connection::start(near, Role::Client),
        Connection::start(far, Role::Server),
    )
}

async fn open(client: &Connection, server: &mut Connection, name: &str) -> (Stream, Stream) {
    let ours = client
        .opener()
        .open(Headers::default().with("name", name))
        .expect("opened");
    let theirs = server.accept().await.expect("a stream");
    theirs.reply();
    ours.replied().await.expect("a reply");
    (ours, theirs)
}

/// The other end as bare frames.
struct Peer {
    io: DuplexStream,
    encoder: Encoder,
    decoder: Decoder,
    arrived: BytesMut,
}

impl Peer {
    fn of(role: Role) -> (Self, Connection) {
        let (io, far) = tokio::io::duplex(4 << 10);
        let peer = Self {
            io,
            encoder: Encoder::default(),
            decoder: Decoder::default(),
            arrived: BytesMut::new(),
        };
        (peer, Connection::start(far, role))
    }

    async fn send(&mut self, frame: &Frame) {
        let mut out = BytesMut::new();
        self.encoder.encode(frame, &mut out);
        self.io.write_all(&out).await.expect("sent");
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.arrived).expect("frames") {
                return Some(frame);
            }
            if self.io.read_buf(&mut self.arrived).await.expect("read") == 0 {
                return None;
            }
        }
    }

    async fn open(&mut self, stream: u32) {
        let headers = Headers::default().with("streamType", "data");
        let frame = Frame::SynStream {
            stream,
            associated: 0,
            priority: 0,
            fin: false,
            unidirectional: false,
            headers,
        };
        self.send(&frame).await;
    }
}

#[tokio::test]
async fn each_half_of_a_stream_ends_on_its_own() {
    let (client, mut server) = pair();
    let (mut ours, mut theirs) = open(&client, &mut server, "a").await;
    assert_eq!(theirs.headers().get("Name"), Some("a"));
    ours.write_all(b"question").await.expect("sent");
    ours.shutdown().await.expect("ended");
    let mut heard = String::new();
    theirs.read_to_string(&mut heard).await.expect("all of it");
    assert_eq!(heard, "question");
    theirs
        .write_all(b"answer")
        .await
        .expect("sent after the other half ended");
    theirs.shutdown().await.expect("ended");
    heard.clear();
    ours.read_to_string(&mut heard).await.expect("all of it");
    assert_eq!(heard, "answer");
}

#[tokio::test]
async fn many_streams_carry_megabytes_side_by_side() {
    let (client, mut server) = pair();
    let echo = tokio::spawn(async move {
        while let Some(stream) = server.accept().await {
            stream.reply();
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(stream);
                tokio::io::copy(&mut reader, &mut writer)
                    .await
                    .expect("echoed");
                writer.shutdown().await.expect("ended");
            });
        }
    });
    let opener = client.opener();
    let sent = (0..40u8).map(|number| {
        let opener = opener.clone();
        tokio::spawn(async move {
            let stream = opener.open(Headers::default()).expect("opened");
            stream.replied().await.expect("a reply");
            let (mut reader, mut writer) = tokio::io::split(stream);
            let bytes = vec![number; 300_000 + usize::from(number)];
            let expected = bytes.clone();
            let sending = tokio::spawn(async move {
                writer.write_all(&bytes).await.expect("sent");
                writer.shutdown().await.expect("ended");
                writer
            });
            let mut back = Vec::new();
            reader.read_to_end(&mut back).await.expect("all of it");
            assert!(
                back == expected,
                "stream {number}: {} bytes of {}",
                back.len(),
                expected.len()
            );
            drop(sending.await);
        })
    });
    for done in sent.collect::<Vec<_>>() {
        done.await.expect("no stream failed");
    }
    drop(client);
    echo.await.expect("the server's end noticed");
}

#[tokio::test]
async fn a_reset_is_an_error_at_the_other_end_and_nothing_to_other_streams() {
    let (client, mut server) = pair();
    let (ours, mut theirs) = open(&client, &mut server, "a").await;
    let (mut other, mut others) = open(&client, &mut server, "b").await;
    ours.reset();
    let error = theirs.read(&mut [0; 8]).await.expect_err("reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(theirs.write_all(b"x").await.is_err());
    other.write_all(b"x").await.expect("sent");
    assert_eq!(others.read_u8().await.expect("read"), b'x');
}

#[tokio::test]
async fn closing_loses_nothing_that_was_sent() {
    let (client, mut server) = pair();
    let (mut ours, mut theirs) = open(&client, &mut server, "a").await;
    let closing = tokio::spawn(async move {
        theirs.write_all(&vec![7; 600_000]).await.expect("sent");
        theirs.shutdown().await.expect("ended");
        server.close().await;
    });
    let mut all = Vec::new();
    ours.read_to_end(&mut all).await.expect("all of it");
    assert_eq!(all.len(), 600_000);
    drop(client);
    closing.await.expect("closed");
}

#[tokio::test]
async fn a_peer_that_goes_ends_all_streams() {
    let (client, mut server) = pair();
    let (_ours, mut theirs) = open(&client, &mut server, "a").await;
    drop(client);
    assert!(theirs.read(&mut [0; 8]).await.is_err());
    server.gone().await;
    assert!(server.accept().await.is_none());
}

#[tokio::test]
async fn a_peer_that_keeps_windows_is_sent_no_more_than_it_takes() {
    let (mut peer, mut server) = Peer::of(Role::Server);
    let setting = Setting {
        flags: 0,
        id: 7,
        value: 10,
    };
    peer.send(&Frame::Settings {
        clear: false,
        entries: vec![setting],
    })
    .await;
    peer.open(1).await;
    let mut stream = server.accept().await.expect("a stream");
    stream.reply();
    let writing = tokio::spawn(async move { stream.write_all(&[1; 25]).await.map(|()| stream) });
    assert!(matches!(peer.next().await, Some(Frame::SynReply { .. })));
    let mut taken = 0;
    while taken < 25 {
        match peer.next().await.expect("data") {
            Frame::Data { bytes, .. } => taken += bytes.len(),
            other => panic!("{other:?}"),
        }
        if taken == 10 || taken == 20 {
            // Nothing comes before the peer says so: a pong overtakes whatever would have been sent.
            peer.send(&Frame::Ping { id: 1 }).await;
            assert_eq!(peer.next().await, Some(Frame::Ping { id: 1 }));
            peer.send(&Frame::WindowUpdate {
                stream: 1,
                delta: 10,
            })
            .await;
        }
    }
    writing.await.expect("no panic").expect("all sent");
}

#[tokio::test]
async fn a_reader_says_what_it_has_taken() {
    let (mut peer, mut server) = Peer::of(Role::Server);
    peer.open(1).await;
    let mut stream = server.accept().await.expect("a stream");
    let reading = tokio::spawn(async move {
        let mut all = vec![0; 40_000];
        stream.read_exact(&mut all).await.map(|_| stream)
    });
    peer.send(&Frame::Data {
        stream: 1,
        fin: false,
        bytes: vec![0; 40_000].into(),
    })
    .await;
    let _stream = reading.await.expect("no panic").expect("read");
    for expected in [0, 1] {
        match peer.next().await {
            Some(Frame::WindowUpdate { stream, delta }) => {
                assert_eq!(stream, expected);
                assert!((32 << 10..=40_000).contains(&delta), "{delta}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn pings_are_sent_back_and_answers_to_our_own_are_not() {
    let (mut peer, _server) = Peer::of(Role::Server);
    peer.send(&Frame::Ping { id: 2 }).await;
    peer.send(&Frame::Ping { id: 9 }).await;
    assert_eq!(peer.next().await, Some(Frame::Ping { id: 9 }));
}

#[tokio::test]
async fn a_stream_number_that_was_used_ends_the_connection_with_a_goodbye() {
    let (mut peer, mut server) = Peer::of(Role::Server);
    peer.open(3).await;
    let _stream = server.accept().await.expect("a stream");
    peer.open(3).await;
    assert_eq!(
        peer.next().await,
        Some(Frame::GoAway {
            last_good: 3,
            status: 1
        })
    );
    assert_eq!(peer.next().await, None);
}

#[tokio::test]
async fn data_for_a_stream_that_never_was_is_answered_with_a_reset() {
    let (mut peer, _server) = Peer::of(Role::Server);
    peer.send(&Frame::Data {
        stream: 5,
        fin: false,
        bytes: "x".into(),
    })
    .await;
    assert_eq!(
        peer.next().await,
        Some(Frame::RstStream {
            stream: 5,
            status: 2
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_stops_the_peer_and_not_the_memory() {
    let (mut peer, mut server) = Peer::of(Role::Server);
    peer.open(1).await;
    let mut stream = server.accept().await.expect("a stream");
    let data = Frame::Data {
        stream: 1,
        fin: false,
        bytes: vec![0; 64 << 10].into(),
    };
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_secs(60), peer.send(&data))
        .await
        .is_ok()
    {
        sent += 64 << 10;
        assert!(sent < 3 << 20, "the peer was never stopped");
    }
    // The interrupted frame is half sent; what was whole can be read.
    let mut all = vec![0; sent];
    stream.read_exact(&mut all).await.expect("what was sent");
}

#[tokio::test]
async fn a_peer_that_asks_and_never_listens_is_cut_off() {
    let (mut peer, server) = Peer::of(Role::Server);
    let mut pings = BytesMut::new();
    let mut encoder = Encoder::default();
    (0..40_000u32)
        .for_each(|number| encoder.encode(&Frame::Ping { id: number * 2 + 1 }, &mut pings));
    let flood = peer.io.write_all(&pings);
    let (flooded, ()) = tokio::join!(flood, server.gone());
    assert!(
        flooded.is_err(),
        "the connection closed in the middle of it"
    );
}

#[tokio::test]
async fn a_stream_dropped_after_its_end_throws_away_what_still_comes() {
    let (client, mut server) = pair();
    let (mut ours, mut theirs) = open(&client, &mut server, "a").await;
    theirs.write_all(b"status").await.expect("sent");
    theirs.shutdown().await.expect("ended");
    drop(theirs);
    let mut heard = String::new();
    ours.read_to_string(&mut heard)
        .await
        .expect("nothing is lost");
    assert_eq!(heard, "status");
    ours.write_all(&[0; 100_000])
        .await
        .expect("taken, and thrown away");
}
